"""The caller's last word on a hit, for both twins and engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nearhit import Hit, Miss, MissReason
from tests.support.nodes import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.faces import Face
    from tests.support.shelf import Shelf

pytestmark = pytest.mark.usefixtures("no_immortal_keys")


def test_a_hit_that_its_caller_refuses_is_a_miss_and_counted_as_one(
    face: Callable[..., Face], shelf: Callable[..., Shelf]
) -> None:
    shelf().add("What is it?", "a thing")
    one = face()
    assert one.warm_up()
    outcome = one.run(one.cache.lookup("what is it", accept=lambda hit: hit.answer != "a thing"))
    assert isinstance(outcome, Miss)
    assert outcome.reason is MissReason.REFUSED
    assert outcome.nearest is not None
    assert outcome.nearest.prompt == "What is it?"
    assert isinstance(one.run(one.cache.lookup("what is it", accept=lambda hit: hit.answer == "a thing")), Hit)
    assert sample(one.metrics, "nearhit_lookups_total", tier="none", outcome="refused") == 1
    assert sample(one.metrics, "nearhit_lookups_total", tier="semantic", outcome="hit") == 1
    assert one.fill(outcome, "another thing") == "accepted"


def test_a_last_word_that_breaks_does_not_reach_its_caller(
    face: Callable[..., Face], shelf: Callable[..., Shelf]
) -> None:
    shelf().add("What is it?", "a thing")
    one = face()
    assert one.warm_up()
    outcome = one.run(one.cache.lookup("What is it?", accept=lambda hit: bool(1 / 0)))
    assert isinstance(outcome, Miss)
    assert outcome.reason is MissReason.ERROR
