"""Caches over an embedder of the test's choice; every test here is checked for keys that live for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.chosen import Chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.faces import Face
    from tests.support.shelf import Shelf

    Faces = Callable[..., Face]
    Shelves = Callable[..., Shelf]


@pytest.fixture(autouse=True)
def _no_immortal_keys(no_immortal_keys: None) -> None:
    """Hold every test of this storey to it."""


@pytest.fixture
def chosen() -> Chosen:
    return Chosen()


@pytest.fixture
def pair(face: Faces, shelf: Shelves, chosen: Chosen) -> Callable[..., tuple[Face, Shelf]]:
    """Makes a cache that is ready, and the shelf of its entries, over the chosen embedder."""

    def make(parts: dict[str, object] | None = None, **changes: object) -> tuple[Face, Shelf]:
        one = face({"embedder": chosen, **(parts or {})}, **changes)
        assert one.warm_up()
        return one, shelf(chosen, **changes)

    return make
