"""What the second stage promises in a lookup, on both twins and both engines, with a judge of the caller's own."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import wait_until

from nearhit import Hit, Judgement, Miss, MissReason, Sameness

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.faces import Face
    from tests.support.store import Store

ASKED = "how do i reset the password of my account"
NEAR = "how do i reset the password of my old account"
NOT = "how do i not reset the password of my account"


class Strict:
    """A judge that refuses a candidate with the word 'not' in it; it counts, and it can hang or break."""

    name = "strict"

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.gate: threading.Event | None = None
        self.broken = False

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        self.pairs.append((prompt, candidate))
        if self.broken:
            raise RuntimeError("broken")
        if self.gate is not None:
            self.gate.wait(20)
        same = "not" not in candidate.split()
        return Judgement(Sameness.SAME if same else Sameness.DIFFERENT, 0.9 if same else 0.1, 10, 0.001)

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        if self.gate is not None:
            await asyncio.sleep(20)
        return self.judge(prompt, candidate, timeout_seconds)


@pytest.fixture
def strict() -> Strict:
    return Strict()


@pytest.fixture
def judged(face: Callable[..., Face], store: Callable[..., Store], strict: Strict) -> Callable[..., tuple[Face, Store]]:
    """Makes a cache that is ready, with the strict judge, and the store of its entries."""

    def make(*prompts: str, **changes: object) -> tuple[Face, Store]:
        values = {"threshold": 0.7, "model": "hash/256", "judge_deadline_ms": 1_500, **changes}
        one = face({"judge": strict}, **values)
        assert one.warm_up()
        entries = store(None, **values)
        for prompt in prompts:
            entries.add(prompt, f"answer to {prompt}")
        wait_until(lambda: seen(one) >= len(prompts), 10, "the reader sees all entries")
        return one, entries

    return make


def seen(cache: Face) -> float:
    """Return how many entries a reader finds: a replica follows the writes, a server has them at once."""
    return math.inf if cache.cache.replica is None else float(cache.cache.replica.entries)


def count(cache: Face, series: str, **labels: str) -> float:
    labels = {"namespace": cache.cache.settings.namespace, **labels}
    return cache.metrics.registry.get_sample_value(f"nearhit_{series}", labels) or 0.0


def test_a_confirmed_neighbour_is_a_hit_whose_stages_say_how_long_it_took(judged: Any, strict: Strict) -> None:
    cache, _ = judged(NEAR)
    found = cache.lookup(ASKED)
    assert isinstance(found, Hit)
    assert found.cached_prompt == NEAR
    assert strict.pairs == [(ASKED, NEAR)]
    assert found.stages["judge"] > 0
    assert found.stages["judge"] <= found.stages["total"]
    assert count(cache, "lookup_seconds_count", stage="judge") == 1
    assert count(cache, "judgements_total", verdict="same", source="asked") == 1
    assert (count(cache, "judge_tokens_total"), count(cache, "judge_dollars_total")) == (10, 0.001)


def test_a_refused_neighbour_is_a_miss_by_the_judge(judged: Any, strict: Strict) -> None:
    cache, _ = judged(NOT)
    missed = cache.lookup(ASKED)
    assert isinstance(missed, Miss)
    assert missed.reason is MissReason.JUDGE
    assert missed.nearest is not None
    assert (missed.nearest.prompt, missed.nearest.refusal) == (NOT, "different")
    assert count(cache, "lookups_total", tier="none", outcome="judge") == 1


def test_the_next_neighbour_is_taken_where_the_judge_refuses_the_nearest(judged: Any, strict: Strict) -> None:
    cache, _ = judged(NOT, "how do i reset a password of my old account")
    found = cache.lookup(ASKED)
    assert isinstance(found, Hit)
    assert "old" in found.cached_prompt
    assert strict.pairs[0] == (ASKED, NOT)


def test_an_exact_hit_is_never_judged(judged: Any, strict: Strict) -> None:
    cache, _ = judged(NOT)
    for _ in range(3):
        assert cache.lookup(NOT)
    assert strict.pairs == []


def test_a_pair_is_judged_once_in_a_process(judged: Any, strict: Strict) -> None:
    cache, _ = judged(NEAR)
    for _ in range(3):
        assert cache.lookup(ASKED)
    assert strict.pairs == [(ASKED, NEAR)]
    assert count(cache, "judgements_total", verdict="same", source="remembered") == 2


@pytest.mark.parametrize(("policy", "hit"), [("refuse", False), ("accept", True)])
def test_a_judge_that_breaks_refuses_or_accepts_as_it_is_set(
    judged: Any, strict: Strict, policy: str, *, hit: bool
) -> None:
    cache, _ = judged(NEAR, judge_on_failure=policy)
    strict.broken = True
    outcome = cache.lookup(ASKED)
    assert bool(outcome) is hit
    assert count(cache, "judgements_total", verdict="failed", source="asked") == 1
    assert count(cache, "errors_total", stage="judge", kind="JudgeUnavailableError") == 1
    strict.broken = False
    assert cache.lookup(ASKED)


@pytest.mark.parametrize(("deadline_ms", "judge_deadline_ms"), [(4_000, 100), (300, 300)])
def test_a_judge_that_hangs_holds_a_lookup_no_longer_than_its_deadline(
    judged: Any, strict: Strict, deadline_ms: int, judge_deadline_ms: int
) -> None:
    cache, _ = judged(NEAR, NOT, deadline_ms=deadline_ms, judge_deadline_ms=judge_deadline_ms)
    strict.gate = threading.Event()
    missed = cache.lookup(ASKED)
    strict.gate.set()
    assert isinstance(missed, Miss)
    assert missed.reason is MissReason.JUDGE
    assert missed.nearest is not None
    assert missed.nearest.refusal == "failed"
    assert missed.stages["total"] < judge_deadline_ms / 1000 + 1.0


def test_a_judge_that_keeps_failing_is_left_alone_for_a_while(judged: Any, strict: Strict) -> None:
    cache, _ = judged(NEAR)
    strict.broken = True
    for _ in range(10):
        assert not cache.lookup(ASKED)
    assert len(strict.pairs) == 3
    assert count(cache, "breaker_open", part="judge") == 1
    assert count(cache, "breaker_open", part="store") == 0
    assert count(cache, "judgements_total", verdict="failed", source="asked") == 10
    assert cache.lookup(NEAR)


def test_many_lookups_ask_about_each_pair_once_and_at_the_same_time(judged: Any, strict: Strict) -> None:
    cache, _ = judged(NEAR, NOT)
    reworded = [f"how do i reset the password of my {word} account" for word in ("main", "other", "main")]
    found = cache.run(cache.cache.lookup_many(reworded))
    assert [bool(one) for one in found] == [True] * 3
    assert len(strict.pairs) == len(set(strict.pairs))
    strict.gate = threading.Event()
    started = time.monotonic()
    late = cache.run(cache.cache.lookup_many([f"{ASKED} {word}" for word in ("now", "again", "here", "there")]))
    strict.gate.set()
    assert [one.reason for one in late] == [MissReason.JUDGE] * 4
    assert time.monotonic() - started < 2.0 + 1.5


def test_the_event_loop_goes_on_while_a_judge_hangs(judged: Any, strict: Strict, kind: str) -> None:
    if kind == "sync":
        return
    cache, _ = judged(NEAR, deadline_ms=1_500, judge_deadline_ms=500)
    strict.gate = threading.Event()
    ticks: list[float] = []

    async def both() -> Any:
        async def tick() -> None:
            while True:
                ticks.append(time.monotonic())
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        outcome = await cache.cache.lookup(ASKED)
        ticking.cancel()
        return outcome

    assert not cache.run(both())
    strict.gate.set()
    assert len(ticks) > 10


def test_a_cache_without_a_judge_has_no_judge_in_its_stages(face: Callable[..., Face], store: Any) -> None:
    cache = face(threshold=0.7, model="hash/256")
    assert cache.warm_up()
    store(None, threshold=0.7, model="hash/256").add(NEAR)
    wait_until(lambda: bool(cache.lookup(ASKED)), 10, "it is found")
    assert "judge" not in cache.lookup(ASKED).stages
    assert count(cache, "lookup_seconds_count", stage="judge") == 0
