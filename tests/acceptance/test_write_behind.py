"""Write-behind, end to end: a question answered once is a hit when it is asked again, through a real worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import Worker, wait_until

from nearhit import FillOutcome, Hit, Miss, Settings, Tier
from tests.support.faces import Face

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nearhit_worker.stack import ValkeyServer


@pytest.fixture(scope="module", params=["local", "valkey-search"])
def working(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A worker process at either engine, and the settings to use it with."""
    name = "plain_server" if request.param == "local" else "search_server"
    server: ValkeyServer = request.getfixturevalue(name)
    folder: Path = tmp_path_factory.mktemp("worker")
    values = {"threshold": 0.8, "url": server.url, "namespace": f"behind-{request.param}", "model": "hash/64"}
    environ = {f"NEARHIT_{name.upper()}": str(value) for name, value in values.items()}
    with Worker(folder, {**environ, "NEARHIT_GUARD": "0"}):
        yield Settings(**values, guard=False, deadline_ms=2_000, enqueue_deadline_ms=1_000)  # type: ignore[arg-type]


@pytest.fixture
def cache(kind: str, working: Settings) -> Iterator[Face]:
    with Face(kind, working) as one:
        assert one.warm_up()
        yield one


def test_a_question_answered_once_is_a_hit_when_it_is_asked_again(cache: Face) -> None:
    question = f"How do I restore a snapshot of the volume with {cache.kind}?"
    scope = {"tenant": cache.kind, "model": "m"}
    missed = cache.lookup(question, scope)
    assert isinstance(missed, Miss)
    assert missed.vector
    assert cache.fill(missed, {"text": "Like this."}) is FillOutcome.ACCEPTED
    wait_until(lambda: bool(cache.lookup(question, scope)), 20, "the worker has stored the answer")
    exact = cache.lookup(question, scope)
    assert isinstance(exact, Hit)
    assert (exact.tier, exact.answer) == (Tier.EXACT, {"text": "Like this."})
    reworded = f"How do I restore the snapshot of a volume with {cache.kind}?"
    wait_until(lambda: bool(cache.lookup(reworded, scope)), 20, "the semantic tier finds it")
    near = cache.lookup(reworded, scope)
    assert isinstance(near, Hit)
    assert (near.tier, near.answer, near.cached_prompt) == (Tier.SEMANTIC, {"text": "Like this."}, question)
    assert not cache.lookup(question, {"tenant": "other", "model": "m"})


def test_a_hundred_fills_of_both_lanes_are_all_stored(cache: Face) -> None:
    lanes = ("interactive", "bulk")
    for number in range(100):
        question = f"What does setting number {number} of {cache.kind} do?"
        assert cache.fill(question, number, lane=lanes[number % 2]) is FillOutcome.ACCEPTED

    def answers() -> list[Any]:
        found = (cache.lookup(f"What does setting number {number} of {cache.kind} do?") for number in range(100))
        return [one.answer for one in found if isinstance(one, Hit) and one.tier is Tier.EXACT]

    wait_until(lambda: answers() == list(range(100)), 30, "every answer is stored under its own question")
