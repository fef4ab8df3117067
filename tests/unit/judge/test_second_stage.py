"""The second stage in a lookup's flow, driven by hand: whom it asks, in which order, and what a failure means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nearhit import Hit, Metrics, Miss, MissReason
from nearhit.domain.hit_policy import Rules
from nearhit.domain.neighbour import Neighbour
from nearhit.domain.question import Question
from nearhit.embedding.vector_cache import VectorCache
from nearhit.errors import ContractError, JudgeUnavailableError
from nearhit.flow.ports import Judgement, Sameness
from nearhit.flow.steps import Compare, Flow, Send
from nearhit.index.space import Space
from nearhit.judge.deadline_judge import DeadlineJudge
from nearhit.judge.second_stage import SecondStage
from nearhit.read.lookup import lookup
from nearhit.valkey.key_names import CacheKeys

KEYS = CacheKeys("judge", "0123456789ab")
SCOPE = "a" * 32
SAME, DIFFERENT, UNSURE = (Judgement(verdict, 0.5) for verdict in Sameness)


class Named:
    """A judge that is never called: here the test itself answers the flow."""

    name = "by hand"


class Says:
    """A guard that gives every candidate the probability that is in its text."""

    accepted, reason = True, None

    def __init__(self, probability: float = 0.0) -> None:
        self.probability = probability

    def judge(self, prompt: str, candidate: str, similarity: float) -> Says:
        return Says(float(candidate.split()[-1]))


class Holds:
    """An engine that holds these neighbours."""

    backfilling = False
    quick = None

    def __init__(self, found: list[tuple[str, float]]) -> None:
        self._found = found

    def search(self, scope: str, vector: Any, k: int, candidates: int = 0) -> Flow[list[Neighbour]]:
        yield Send((("FT.SEARCH",),), "search")
        return [Neighbour(f"k:{text}".encode(), similarity, fields(text)) for text, similarity in self._found[:k]]


def fields(prompt: str) -> dict[bytes, bytes]:
    return {
        b"prompt": prompt.encode(),
        b"response": b'"an answer"',
        b"embedder": KEYS.embedder.encode(),
        b"scope": SCOPE.encode(),
        b"created": b"1700000000000000",
        b"fresh_until": b"4000000000000",
        b"expires": b"4000000000000",
    }


class Drive:
    """Lookups of "asked" among some neighbours; ``asked`` is every candidate that the judge was asked about."""

    def __init__(self, *found: tuple[str, float], judged: bool = True, guard: Any = None, **options: Any) -> None:
        vectors = VectorCache(4)
        vectors.put("asked", np.array([1, 0], dtype=np.float32))
        self.metrics = Metrics()
        self.space = Space(KEYS, 2, Holds(list(found)), vectors)  # type: ignore[arg-type]
        self.rules = Rules(0.8, guard)
        held = DeadlineJudge(Named())  # type: ignore[arg-type]
        self.judging = SecondStage(held, self.metrics, **{"seconds": 1.0, **options}) if judged else None
        self.asked: list[str] = []
        self.steps: list[str] = []

    def run(self, *answers: Any) -> Hit | Miss:
        said, send = list(answers), None
        thrown: Exception | None = None
        flow = lookup(Question("asked", SCOPE), self.space, self.rules, {}, self.judging)
        while True:
            try:
                step = flow.throw(thrown) if thrown else flow.send(send)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            thrown = None
            self.steps.append(type(step).__name__)
            if isinstance(step, Compare):
                ((prompt, candidate),) = step.pairs
                assert (prompt, step.seconds <= 1.0) == ("asked", True)
                self.asked.append(candidate)
                answer = said.pop(0)
                thrown = answer if getattr(answer, "thrown", False) else None
                send = [answer]
            else:
                send = [[None] * 9]

    def count(self, verdict: str, source: str = "asked") -> float:
        labels = {"namespace": "default", "verdict": verdict, "source": source}
        return self.metrics.registry.get_sample_value("nearhit_judgements_total", labels) or 0.0


def thrown() -> JudgeUnavailableError:
    error = JudgeUnavailableError("the breaker of judge is open")
    error.thrown = True  # type: ignore[attr-defined]
    return error


def prompt_of(outcome: Hit | Miss) -> str:
    assert isinstance(outcome, Hit), outcome
    return outcome.cached_prompt


def test_what_the_judge_confirms_is_served() -> None:
    drive = Drive(("near", 0.95))
    assert prompt_of(drive.run(SAME)) == "near"
    assert drive.asked == ["near"]
    assert drive.count("same") == 1


def test_a_refused_neighbour_falls_through_to_the_next() -> None:
    drive = Drive(("nearest", 0.97), ("nearer", 0.95), ("near", 0.9))
    assert prompt_of(drive.run(DIFFERENT, UNSURE, SAME)) == "near"
    assert drive.asked == ["nearest", "nearer", "near"]


@pytest.mark.parametrize(("said", "why"), [(DIFFERENT, "different"), (UNSURE, "unsure")])
def test_a_miss_by_the_judge_names_the_nearest_that_it_refused(said: Judgement, why: str) -> None:
    drive = Drive(("nearest", 0.97), ("near", 0.9), ("far", 0.5))
    missed = drive.run(said, DIFFERENT)
    assert isinstance(missed, Miss)
    assert missed.reason is MissReason.JUDGE
    assert missed.nearest is not None
    assert (missed.nearest.prompt, missed.nearest.similarity, missed.nearest.refusal) == ("nearest", 0.97, why)
    assert missed.vector
    assert drive.asked == ["nearest", "near"]


def test_a_miss_by_the_judge_is_not_counted_as_a_refusal_of_the_guard() -> None:
    drive = Drive(("near", 0.9))
    drive.metrics.count_lookup(drive.run(DIFFERENT))
    value = drive.metrics.registry.get_sample_value
    assert value("nearhit_lookups_total", {"namespace": "default", "tier": "none", "outcome": "judge"}) == 1
    assert value("nearhit_guard_refusals_total", {"namespace": "default", "reason": "different"}) is None


@pytest.mark.parametrize(
    "failure", [JudgeUnavailableError("late"), ContractError("garbage"), thrown()], ids=["late", "garbage", "thrown"]
)
@pytest.mark.parametrize("accept", [False, True])
def test_a_failure_refuses_or_accepts_as_it_is_set(failure: Exception, *, accept: bool) -> None:
    drive = Drive(("near", 0.95), accept_on_failure=accept)
    outcome = drive.run(failure)
    assert bool(outcome) is accept
    assert drive.count("failed") == 1
    if isinstance(outcome, Miss):
        assert outcome.reason is MissReason.JUDGE
        assert outcome.nearest is not None
        assert outcome.nearest.refusal == "failed"


def test_no_further_neighbour_is_looked_at_once_the_judge_has_failed() -> None:
    drive = Drive(("nearest", 0.97), ("near", 0.9))
    assert not drive.run(JudgeUnavailableError("late"))
    assert drive.steps == ["Send", "Compare"]


def test_no_further_neighbour_is_looked_at_once_the_time_for_judging_is_over() -> None:
    drive = Drive(("nearest", 0.97), ("near", 0.9), seconds=0.0, accept_on_failure=True)
    assert not drive.run(DIFFERENT)
    assert drive.asked == ["nearest"]


def test_the_neighbours_behind_the_nearest_are_asked_for_only_where_the_judge_refuses_it() -> None:
    drive = Drive(("nearest", 0.97), ("nearer", 0.95), ("near", 0.9))
    assert drive.run(DIFFERENT, DIFFERENT, SAME)
    assert drive.steps == ["Send", "Compare", "Send", "Compare", "Compare"]


def test_a_pair_is_asked_about_once() -> None:
    drive = Drive(("near", 0.95))
    drive.run(DIFFERENT)
    drive.run()
    assert drive.asked == ["near"]
    assert (drive.count("different"), drive.count("different", "remembered")) == (1, 1)


def test_a_failure_is_not_remembered() -> None:
    drive = Drive(("near", 0.95))
    drive.run(JudgeUnavailableError("late"))
    assert drive.run(SAME)
    assert drive.asked == ["near", "near"]


def test_the_question_itself_is_never_judged() -> None:
    drive = Drive(("asked", 1.0))
    assert drive.run()
    assert drive.asked == []


def test_what_the_guard_is_sure_of_is_served_without_asking() -> None:
    drive = Drive(("sure 0.9", 0.95), guard=Says(), below=0.9)
    assert drive.run()
    assert drive.asked == []
    drive = Drive(("less sure 0.89", 0.95), guard=Says(), below=0.9)
    assert not drive.run(DIFFERENT)
    assert drive.asked == ["less sure 0.89"]


def test_without_a_guard_the_similarity_says_how_sure_it_is() -> None:
    drive = Drive(("near", 0.95), below=0.94)
    assert drive.run()
    assert drive.asked == []


def test_a_band_of_one_asks_about_what_is_certain_too() -> None:
    drive = Drive(("certain 1.0", 1.0), guard=Says())
    assert not drive.run(DIFFERENT)
    assert drive.asked == ["certain 1.0"]


def test_a_lookup_without_a_judge_takes_the_same_steps_as_one_without_the_feature() -> None:
    without, judged = Drive(("near", 0.95), judged=False), Drive(("near", 0.95))
    without.run()
    judged.run(SAME)
    assert without.steps == ["Send"]
    assert judged.steps == ["Send", "Compare"]


def test_a_miss_below_the_threshold_asks_nobody() -> None:
    drive = Drive(("far", 0.5))
    missed = drive.run()
    assert isinstance(missed, Miss)
    assert missed.reason is MissReason.BELOW_THRESHOLD
    assert drive.asked == []
