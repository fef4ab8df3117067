"""No semantic hit where the embedder did not read the difference, on both twins and engines, guard or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from nearhit import Hit, Miss, MissReason
from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from tests.support.chosen_vectors import eventually
from tests.support.nodes import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.faces import Face
    from tests.support.store import Store

CONTEXT = "The tram to the harbour leaves every ten minutes and stops at the museum. " * 22
CASES = {
    "cut_text": (f"{CONTEXT} The fare is low. {CONTEXT}", f"{CONTEXT} The ride is long. {CONTEXT}"),
    "excerpt": (f"{CONTEXT} How do I cancel my ticket?", f"{CONTEXT} Which seats have a table?"),
    "unknown_tokens": ("如何重置我的密码？", "如何删除我的账户？"),
    "accents": ("tôi bán hàng ở đâu", "tôi bạn hàng ở đâu"),
}


@pytest.fixture(scope="module")
def minilm() -> MiniLMEmbedder:
    return MiniLMEmbedder()


@pytest.mark.parametrize("guard", [True, False])
@pytest.mark.parametrize("unread", CASES)
def test_texts_that_differ_only_in_what_was_not_read_share_no_answer(
    face: Callable[..., Face], store: Callable[..., Store], minilm: MiniLMEmbedder, unread: str, *, guard: bool
) -> None:
    cached, asked = CASES[unread]
    values = {"model": "local/minilm", "threshold": 0.9, "guard": guard, "deadline_ms": 5_000}
    one = face({"embedder": minilm}, **values)
    assert one.warm_up(60.0)
    store(minilm, **values).add(cached, "the other answer")
    hit = eventually(one, cached)
    assert hit.answer == "the other answer"
    # an exact hit needs the server alone, what is near also the replica of the local engine
    wait_until(lambda: one.cache.replica is None or one.cache.replica.entries == 1, 10, "the replica to have it")
    outcome = one.lookup(asked)
    assert isinstance(outcome, Miss)
    assert outcome.nearest is not None
    assert (outcome.reason, outcome.nearest.refusal) == (MissReason.UNSEEN, unread)
    assert (outcome.nearest.similarity > 0.99) is (unread != "excerpt")
    assert sample(one.metrics, "nearhit_lookups_total", tier="none", outcome="unseen") == 1
    assert sample(one.metrics, "nearhit_guard_refusals_total", reason=unread) == 1


def test_a_rewording_that_was_read_is_still_a_hit(
    face: Callable[..., Face], store: Callable[..., Store], minilm: MiniLMEmbedder
) -> None:
    values = {"model": "local/minilm", "threshold": 0.9, "deadline_ms": 5_000}
    one = face({"embedder": minilm}, **values)
    assert one.warm_up(60.0)
    rows = store(minilm, **values)
    rows.add("How do I reset my password?", "by the link")
    rows.add(f"How do I cancel my ticket? {CONTEXT}", "at the desk")
    rows.add(f"{CONTEXT}How many dogs may I take along?", "two")
    eventually(one, "How do I reset my password?")
    assert isinstance(one.lookup("How can I reset my password?"), Hit)
    eventually(one, f"How do I cancel my ticket? {CONTEXT}")
    assert isinstance(one.lookup(f"How can I cancel my ticket? {CONTEXT}"), Hit)
    eventually(one, f"{CONTEXT}How many dogs may I take along?")
    behind = one.lookup(f"{CONTEXT}How many dogs can I take along?")
    assert isinstance(behind, Hit)
    assert behind.answer == "two"
    assert 0.9 <= behind.similarity < 0.999  # of the questions, not of the context that they share
    many = one.run(one.cache.lookup_many([f"{CONTEXT}How many {what} may I take along?" for what in ("dogs", "bikes")]))
    assert [bool(found) for found in many] == [True, False]


def test_the_same_context_before_two_questions_that_were_read_does_not_make_them_one(
    face: Callable[..., Face], store: Callable[..., Store], minilm: MiniLMEmbedder
) -> None:
    context = CONTEXT[:750]
    values = {"model": "local/minilm", "threshold": 0.9, "guard": False, "deadline_ms": 5_000}
    one = face({"embedder": minilm}, **values)
    assert one.warm_up(60.0)
    rows = store(minilm, **values)
    rows.add(f"{context} How do I cancel my ticket?", "at the desk")
    rows.add(f"{context} Where are the lockers?", "below")
    eventually(one, f"{context} Where are the lockers?")
    eventually(one, f"{context} How do I cancel my ticket?")
    missed = one.lookup(f"{context} Which seats have a table?")
    assert isinstance(missed, Miss)
    assert missed.nearest is not None
    assert (missed.reason, missed.nearest.refusal) == (MissReason.UNSEEN, "excerpt")
    second = one.lookup(f"{context} Where are lockers?")
    assert isinstance(second, Hit)
    assert second.answer == "below"
