"""The caller's last word on a hit, for both twins and engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nearhit import Hit, Miss, MissReason
from tests.support.nodes import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.faces import Face
    from tests.support.store import Store

pytestmark = pytest.mark.usefixtures("no_immortal_keys")


def test_a_hit_that_its_caller_refuses_is_a_miss_and_counted_as_one(
    face: Callable[..., Face], store: Callable[..., Store]
) -> None:
    store().add("What is it?", "a thing")
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
    face: Callable[..., Face], store: Callable[..., Store]
) -> None:
    store().add("What is it?", "a thing")
    one = face()
    assert one.warm_up()
    outcome = one.run(one.cache.lookup("What is it?", accept=lambda hit: bool(1 / 0)))
    assert isinstance(outcome, Miss)
    assert outcome.reason is MissReason.ERROR


def test_an_asynchronous_last_word_is_awaited_or_accepts_nothing(
    face: Callable[..., Face], store: Callable[..., Store]
) -> None:
    store().add("What is it?", "a thing")
    one = face()
    assert one.warm_up()

    async def accept(hit: Hit) -> bool:
        return bool(hit.answer == "a thing")

    async def refuse(hit: Hit) -> bool:
        return bool(hit.answer != "a thing")

    refused = one.run(one.cache.lookup("What is it?", accept=refuse))
    assert isinstance(refused, Miss)
    assert refused.reason is MissReason.REFUSED
    accepted = one.run(one.cache.lookup("What is it?", accept=accept))
    if one.kind == "asyncio":
        assert isinstance(accepted, Hit)
    else:
        assert isinstance(accepted, Miss)
        assert accepted.reason is MissReason.REFUSED
        assert "asynchronous" in accepted.detail
        assert sample(one.metrics, "nearhit_errors_total", stage="lookup", kind="ConfigError") == 2
