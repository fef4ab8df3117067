"""Which texts go together in which embedding call, without a clock, a thread or an event loop."""

from __future__ import annotations

import heapq
import itertools
from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nearhit.embedding.call_queue import Call, CallQueue, Limits
from nearhit.errors import ConfigError, ContractError, EmbedderUnavailableError
from nearhit.flow.ports import Embeddings
from nearhit.testing import HashEmbedder

if TYPE_CHECKING:
    from nearhit.embedding.call_queue import Request, Said

    Asked = Request[Future[Said]]

EMBEDDER = HashEmbedder(8)
WRONG: list[Any] = [np.zeros((2, 8)), np.zeros((4, 8)), np.zeros(3), None, "text", [[1.0], [1.0, 2.0], [1.0]]]


def queue_of(calls: int = 1, texts: int = 64, **limits: Any) -> CallQueue[Future[Said]]:
    return CallQueue(Limits(calls, **{"full_calls": calls, "texts": texts, **limits}), Future)


def ask(queue: CallQueue[Future[Said]], *texts: str) -> list[Asked]:
    return [queue.ask((text,), 1.0, 0.0) for text in texts]


def texts_of(*calls: Call[Future[Said]]) -> list[str]:
    return ["".join(call.texts) for call in calls]


def begun(queue: CallQueue[Future[Said]]) -> list[str]:
    return texts_of(*queue.begin(0.0))


def made(call: Call[Future[Said]]) -> Embeddings:
    return Embeddings(EMBEDDER.embed(call.texts, 1.0).vectors, tokens=len(call.texts), cost_dollars=0.5)


def vector(text: str) -> list[float]:
    row: list[float] = EMBEDDER.embed([text], 1.0).vectors[0].tolist()
    return row


def drain(queue: CallQueue[Future[Said]], bad: str) -> list[str]:
    """Make every call that the queue wants, of which those with a bad text are refused; return their texts."""
    sent = []
    while calls := queue.begin(0.0):
        for call in calls:
            sent += texts_of(call)
            refused = set(bad) & set("".join(call.texts))
            queue.ended(call, ContractError("a bad text") if refused else made(call), 0.0)
    return sent


def test_what_is_asked_while_a_call_is_under_way_goes_together_in_the_next_one() -> None:
    queue = queue_of()
    first = ask(queue, "a")
    (call,) = queue.begin(0.0)
    later = ask(queue, "b", "c", "d")
    assert begun(queue) == []
    queue.ended(call, made(call), 0.0)
    (call,) = queue.begin(0.0)
    assert texts_of(call) == ["bcd"]
    queue.ended(call, made(call), 0.0)
    for request in [*first, *later]:
        said = queue.leave(request)
        assert isinstance(said, Embeddings)
        assert said.vectors.tolist() == [vector(request.texts[0])]
    assert begun(queue) == []


def test_the_same_text_is_asked_for_once_while_it_waits_and_while_its_call_is_under_way() -> None:
    queue = queue_of()
    waiting = ask(queue, "a", "a")
    (call,) = queue.begin(0.0)
    waiting += ask(queue, "a")
    assert texts_of(call) == ["a"]
    assert begun(queue) == []
    queue.ended(call, made(call), 0.0)
    assert [queue.leave(request).vectors.tolist() for request in waiting] == [[vector("a")]] * 3  # type: ignore[union-attr]
    ask(queue, "a")
    assert begun(queue) == ["a"]


def test_what_was_paid_is_counted_once_by_somebody_who_takes_the_answer() -> None:
    queue = queue_of()
    requests = ask(queue, "a", "b", "b", "c")
    (call,) = queue.begin(0.0)
    queue.leave(requests[0])
    queue.ended(call, made(call), 0.0)
    said: list[Any] = [queue.leave(request) for request in requests[1:]]
    assert [(one.calls, one.tokens, one.cost_dollars) for one in said] == [(1, 3, 0.5), (0, 0, 0.0), (0, 0, 0.0)]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"calls": 1, "texts": 4}, ["abcd"]),
        ({"calls": 2, "texts": 4}, ["abcd", "ef"]),
        ({"calls": 9, "texts": 4}, ["abcd", "ef"]),
        ({"calls": 1, "full_calls": 3, "texts": 2}, ["ab", "cd", "ef"]),
        ({"calls": 1, "full_calls": 3, "texts": 4}, ["abcd"]),
        ({"calls": 2, "texts": 4, "by_text": True}, ["abc", "def"]),
        ({"calls": 4, "texts": 4, "by_text": True}, ["ab", "cd", "e", "f"]),
        ({"calls": 2, "texts": 2, "by_text": True}, ["ab", "cd"]),
        ({"calls": 9, "texts": 9, "characters": 5}, ["abcde", "f"]),
        ({"calls": 9, "texts": 9, "characters": 0}, ["a", "b", "c", "d", "e", "f"]),
    ],
)
def test_calls_keep_their_limits(limits: dict[str, Any], expected: list[str]) -> None:
    queue = queue_of(**limits)
    ask(queue, *"abcdef")
    assert begun(queue) == expected


def test_a_caller_alone_begins_at_once_and_one_of_several_gathers_the_others() -> None:
    queue = queue_of(calls=2, texts=3, gather_seconds=0.5, full_calls=3)
    ask(queue, "a")
    assert queue.due() == 0.0
    (first,) = queue.begin(0.0)
    ask(queue, "b")
    assert queue.due() == 0.5
    ask(queue, "c")
    assert queue.due() is None
    assert begun(queue) == ["bc"]
    ask(queue, "d")
    assert queue.due() is None
    ask(queue, "e", "f")
    assert queue.due() == 0.0
    assert begun(queue) == ["def"]
    queue.ended(first, made(first), 0.0)
    ask(queue, "g")
    assert queue.due() is None


def test_a_caller_with_more_texts_than_a_call_may_have_gets_one_call_of_its_own() -> None:
    queue = queue_of(calls=3, texts=2)
    requests = [queue.ask(("a",), 1.0, 0.0), queue.ask(("b", "c", "d"), 1.0, 0.0), queue.ask(("e",), 1.0, 0.0)]
    assert begun(queue) == ["a", "bcd", "e"]
    assert requests[1].call is not None


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    queue = queue_of()
    ask(queue, "a")
    (call,) = queue.begin(0.0)
    for request in ask(queue, "b", "c", "b"):
        assert queue.leave(request) is None
    ask(queue, "d")
    queue.ended(call, made(call), 0.0)
    assert begun(queue) == ["d"]


def test_those_who_are_about_to_give_up_are_passed_over_while_others_can_be_served() -> None:
    queue = queue_of(texts=2)

    def take(seconds: float, *texts: str) -> None:
        (call,) = queue.begin(0.0)
        assert call.texts == texts
        queue.ended(call, made(call), seconds)

    for turn in range(20):  # from now on a call is known to take about 0.4 s
        ask(queue, f"{turn}")
        take(0.4, f"{turn}")
    requests = [queue.ask((text,), seconds, 0.0) for text, seconds in (("a", 0.1), ("b", 1.2), ("c", 0.3), ("d", 1.0))]
    take(0.4, "b", "d")
    take(0.01, "c")  # nobody else is waiting: it shows whether calls take as long as ever
    requests += [queue.ask((text,), 0.1, 0.0) for text in "ef"]
    take(0.4, "a", "e")
    take(0.4, "f")
    assert all(request.answer.done() for request in requests)


@pytest.mark.parametrize("callers", [64, 192, 256, 1024])
def test_more_callers_than_can_be_served_leave_most_of_the_work_for_those_who_are(callers: int) -> None:
    """A call of n texts takes 3 + 2.2 n ms, as the local model does; each caller waits 0.25 s and asks again."""
    queue = queue_of(calls=2, texts=16, by_text=True)
    events: list[tuple[float, int, Any]] = [(number / 10_000, number, None) for number in range(callers)]
    heapq.heapify(events)
    served = 0
    for turn in itertools.count(callers):
        now, _, what = heapq.heappop(events)
        if now > 5:
            break
        if what is None:
            request = queue.ask((f"{turn}",), 0.25, now)
            heapq.heappush(events, (now + 0.25, turn, request))
        elif isinstance(what, Call):
            answered = [request for request in what.requests if request.waiting]
            queue.ended(what, made(what), now)
            served += len(answered)
            for request in answered:
                queue.leave(request)
                heapq.heappush(events, (now + 0.002, id(request), None))
        elif what.waiting:
            queue.leave(what)
            heapq.heappush(events, (now + 0.002, turn, None))
        for number, call in enumerate(queue.begin(now)):
            heapq.heappush(events, (now + 0.003 + 0.0022 * len(call.texts), -2 * turn - number, call))
    assert served / 5 > 0.8 * 2 * 16 / (0.003 + 0.0022 * 16)


@pytest.mark.parametrize("error", [EmbedderUnavailableError("down"), ConfigError("no key")], ids=repr)
def test_an_embedder_that_is_down_or_wrongly_set_fails_all_and_is_not_asked_again(error: Exception) -> None:
    queue = queue_of()
    requests = ask(queue, *"abc")
    (call,) = queue.begin(0.0)
    queue.ended(call, error, 0.0)
    assert [queue.leave(request) for request in requests] == [error] * 3
    assert begun(queue) == []


def test_who_joined_a_call_that_ran_out_of_time_goes_with_the_next_one_if_he_can_still_wait() -> None:
    queue = queue_of()
    requests = [queue.ask((text,), 0.0625, 0.0) for text in "abc"]
    (call,) = queue.begin(0.0)
    for text, seconds in (("a", 0.25), ("b", 0.03125)):
        queue.ask((text,), seconds, 0.03125)
    queue.ended(call, EmbedderUnavailableError("no answer"), 0.0625)
    assert [request.answer.done() for request in requests] == [False, True, True]
    (call,) = queue.begin(0.0625)
    assert (texts_of(call), call.seconds) == (["a"], 0.25)
    queue.ask(("a",), 1.0, 0.125)
    queue.ended(call, EmbedderUnavailableError("down"), 0.125)  # it says so within its time: that goes for all
    assert requests[0].answer.done()
    assert begun(queue) == []


@pytest.mark.parametrize("bad", ["g", "ag", "abcdefgh"])
def test_a_bad_text_is_refused_alone_and_the_others_have_their_vectors(bad: str) -> None:
    queue = queue_of(calls=2)
    letters = "abcdefghijklmnopqrstuvwxyz"
    requests = ask(queue, *letters)
    sent = drain(queue, bad)
    for letter, request in zip(letters, requests, strict=True):
        said = queue.leave(request)
        assert isinstance(said, ContractError) if letter in bad else said.vectors.tolist() == [vector(letter)]  # type: ignore[union-attr]
    assert len(sent) <= 1 + 8 + 8 * len(bad)
    assert begun(queue) == []


def test_the_parts_of_a_refused_call_leave_out_what_nobody_waits_for() -> None:
    queue = queue_of()
    requests = ask(queue, *"abcd")
    (call,) = queue.begin(0.0)
    queue.leave(requests[1])
    queue.ended(call, ContractError("a bad text"), 0.0)
    queue.leave(requests[3])
    assert drain(queue, "") == ["a", "c"]
    assert ask(queue, "d")[0] is not requests[3]


@pytest.mark.parametrize(
    "wrong",
    [
        *map(Embeddings, WRONG),
        SimpleNamespace(vectors=np.zeros((3, 8))),
    ],
    ids=str,
)
def test_an_answer_that_is_not_one_vector_for_each_text_is_asked_for_again_alone(wrong: Any) -> None:
    queue = queue_of()
    requests = ask(queue, *"abc")
    (call,) = queue.begin(0.0)
    queue.ended(call, wrong, 0.0)
    assert drain(queue, "") == ["a", "b", "c"]
    assert [queue.leave(request).vectors.tolist() for request in requests] == [[vector(one)] for one in "abc"]  # type: ignore[union-attr]
