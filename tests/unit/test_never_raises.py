"""Whatever a lookup is given, it returns a hit or a miss with its reason."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from nearhit import AsyncSemanticCache, Miss, MissReason, SemanticCache, Settings
from nearhit.domain.question import Question, read_question
from tests.support import nonsense
from tests.support.ids import stable

SETTINGS = Settings(threshold=0.9, url="valkey://127.0.0.1:1", model="hash/64")
COUNT = 200_000


def test_200_000_inputs_are_read_or_bypassed_by_name() -> None:
    random = Random(14)
    reasons: dict[str, int] = {}
    for _ in range(COUNT):
        found = read_question(nonsense.prompt(random), nonsense.scope(random))
        name = "read" if isinstance(found, Question) else found.reason.value
        reasons[name] = reasons.get(name, 0) + 1
        assert name == "read" or name.startswith("bypass_"), name
    assert len(reasons) >= 6, reasons
    assert reasons["read"] > COUNT / 20, reasons


def test_lookups_of_any_input_return() -> None:
    random = Random(5)
    with SemanticCache(SETTINGS) as cache:
        cache.close()  # so that every question that can be read is a miss at once
        for _ in range(20_000):
            assert isinstance(cache.lookup(nonsense.prompt(random), nonsense.scope(random)), Miss)
        for _ in range(5_000):
            assert all(
                isinstance(one, Miss) for one in cache.lookup_many(nonsense.nonsense(random), nonsense.scope(random))
            )


def test_awaited_lookups_of_any_input_return() -> None:
    random = Random(6)

    async def ask() -> None:
        cache = AsyncSemanticCache(SETTINGS)
        await cache.close()
        for _ in range(20_000):
            assert isinstance(await cache.lookup(nonsense.prompt(random), nonsense.scope(random)), Miss)
        for _ in range(5_000):
            found = await cache.lookup_many(nonsense.nonsense(random), nonsense.scope(random))
            assert all(isinstance(one, Miss) for one in found)

    asyncio.run(ask())


@pytest.mark.parametrize(
    "prompts", [None, 5, "how are you", b"how are you", {"a": 1}, object(), nonsense.Raising()], ids=stable
)
def test_lookup_many_of_what_is_no_list_says_so(prompts: Any) -> None:
    with SemanticCache(SETTINGS) as cache:
        (found,) = cache.lookup_many(prompts)
    assert isinstance(found, Miss)
    assert found.reason is MissReason.BYPASS_NOT_TEXT
    assert "prompts are a list" in found.detail


def test_lookup_many_of_a_scope_of_nonsense_is_a_bypass_for_each() -> None:
    with SemanticCache(SETTINGS) as cache:
        for scope in (5, {"tenant": 5}, nonsense.Raising(), {"x": nonsense.Unequal()}):
            found = cache.lookup_many(["a", "b"], scope)  # type: ignore[arg-type]  # what a caller may pass all the same
            assert [isinstance(one, Miss) and one.reason for one in found] == [MissReason.BYPASS_SCOPE] * 2
