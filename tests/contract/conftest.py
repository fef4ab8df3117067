"""Caches over an embedder of the test's choice; every test here is checked for keys that live for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.chosen_vectors import ChosenVectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.faces import Face
    from tests.support.store import Store

    Faces = Callable[..., Face]
    Stores = Callable[..., Store]


@pytest.fixture(autouse=True)
def _no_immortal_keys(no_immortal_keys: None) -> None:
    """Hold every test of this storey to it."""


@pytest.fixture
def chosen() -> ChosenVectors:
    return ChosenVectors()


@pytest.fixture
def pair(face: Faces, store: Stores, chosen: ChosenVectors) -> Callable[..., tuple[Face, Store]]:
    """Makes a cache that is ready, and the store of its entries, over the chosen embedder."""

    def make(parts: dict[str, object] | None = None, **changes: object) -> tuple[Face, Store]:
        one = face({"embedder": chosen, **(parts or {})}, **changes)
        assert one.warm_up()
        return one, store(chosen, **changes)

    return make
