"""Misses on their way from a lookup to its fill."""

from __future__ import annotations

from nearhit.domain.outcome import Miss, MissReason
from nearhit.domain.question import Question
from nearhit.read.pending_misses import PendingMisses


def miss(text: str, vector: bytes = b"v") -> Miss:
    return Miss(reason=MissReason.EMPTY, prompt=text, scope="s", vector=vector)


def test_a_miss_is_taken_once() -> None:
    pending = PendingMisses()
    pending.put(miss("a"))
    assert pending.take(Question("a", "s")) == miss("a")
    assert pending.take(Question("a", "s")) is None


def test_the_oldest_goes_when_there_are_too_many() -> None:
    pending = PendingMisses(limit=2)
    for text in ("a", "b", "a", "c"):
        pending.put(miss(text))
    assert pending.take(Question("b", "s")) is None
    assert pending.take(Question("a", "s")) is not None
    assert pending.take(Question("c", "s")) is not None


def test_a_miss_that_saves_nothing_takes_no_place() -> None:
    pending = PendingMisses(limit=1)
    pending.put(miss("a"))
    pending.put(miss("b", vector=b""))
    pending.put(Miss(reason=MissReason.BYPASS_EMPTY, vector=b"v"))
    assert pending.take(Question("a", "s")) is not None


def test_another_scope_is_another_question() -> None:
    pending = PendingMisses()
    pending.put(miss("a"))
    assert pending.take(Question("a", "other")) is None
