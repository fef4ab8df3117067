"""Call queue: which texts that callers wait for go together in which embedding call."""

from __future__ import annotations

import contextvars
import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from nearhit.errors import ConfigError, ContractError, UnavailableError
from nearhit.flow.ports import Embeddings

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

Said = Embeddings | Exception
A = TypeVar("A", bound="asyncio.Future[Said] | Future[Said]")

_PARTS = 8
"""A refused call is sent again in so many parts: of 64 texts, one of them bad, 56 have their vectors one call later."""

_WEIGHT = 0.25
"""How much of a slower call counts; a faster one counts at once, so that one that loads a model is soon forgotten."""

_TIME_UP = 0.9
"""A call that fails after this share of its time has run out of it: clients and clocks differ by some milliseconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large embedding calls are, and how many are under way at once.

    Attributes:
        calls: under way at once; further callers wait for one of them to end.
        full_calls: under way at once where a full call waits, or parts of a refused one: to wait would join no more.
        texts: in one call, unless a caller brings more.
        characters: in one call, likewise.
        by_text: a call takes its time for each text, as on the CPU: what waits is shared out over all calls that may
            begin, and none takes more than half of the time that its callers have.
        gather_seconds: how long a call waits for more texts while others are under way.
    """

    calls: int
    full_calls: int
    texts: int
    characters: int = 200_000
    by_text: bool = False
    gather_seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Request(Generic[A]):
    """Texts that one or more callers wait for.

    Attributes:
        texts: to embed.
        answer: takes what they got: vectors, or an error.
        context: of the caller who came first, for tracing.
        seconds: the longest time that any of them gives it.
        end: when the last of them gives up, monotonic seconds.
        waiting: how many callers wait.
        call: that it goes with, once that has begun.
        counted: somebody has taken the answer with what it cost.
    """

    texts: tuple[str, ...]
    answer: A
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    seconds: float = 0.0
    end: float = 0.0
    waiting: int = 0
    call: Call[A] | None = None
    counted: bool = False


@dataclass(slots=True, eq=False)
class Call(Generic[A]):
    """Requests that go together.

    Attributes:
        requests: in the order in which they came.
        began: when, monotonic seconds.
        seconds: the longest time that any caller gave it by then; who joins later cannot change it.
        task: that makes the call, in an event loop.
    """

    requests: list[Request[A]]
    began: float
    seconds: float
    task: asyncio.Task[Embeddings] | None = None

    @property
    def context(self) -> contextvars.Context:
        """A copy of the context of the caller who came first."""
        return self.requests[0].context.copy()

    @property
    def texts(self) -> tuple[str, ...]:
        """All their texts."""
        return tuple(text for request in self.requests for text in request.texts)

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for it."""
        return any(request.waiting for request in self.requests)


class CallQueue(Generic[A]):
    """Joins callers: who asks for the same texts shares a request, requests that wait go together in the next call.

    Where more is asked than can be embedded, those who are about to give up are passed over: first come, first served
    would embed texts whose callers are gone by then, and serve nobody in time.

    Does nothing by itself and is not thread-safe: its owner makes the calls that ``begin`` gives, and says how they
    ended.

    Args:
        limits: of calls.
        answer: makes what a caller waits for.
    """

    def __init__(self, limits: Limits, answer: Callable[[], A]) -> None:
        self._limits = limits
        self._answer = answer
        self._known: dict[tuple[str, ...], Request[A]] = {}  # waiting or under way
        self._waiting: dict[tuple[str, ...], Request[A]] = {}
        self._again: deque[list[Request[A]]] = deque()
        self._running = 0
        self._gathering = False
        self._pace = 0.0  # seconds of a call, or of a text in it

    def ask(self, texts: tuple[str, ...], seconds: float, now: float) -> Request[A]:
        """Return the request for ``texts``, with one caller more who gives it ``seconds`` from now on."""
        request = self._known.get(texts)
        if request is None:
            request = self._known[texts] = self._waiting[texts] = Request(texts, self._answer())
        request.waiting += 1
        request.seconds = max(request.seconds, seconds)
        request.end = max(request.end, now + seconds)
        return request

    def leave(self, request: Request[A]) -> Said | None:
        """Return the answer, if it is there, for a caller who no longer waits.

        The first one's carries what the call cost. What nobody waits for is not sent any more.
        """
        request.waiting -= 1
        if not request.waiting and request.call is None:
            self._waiting.pop(request.texts, None)
            self.forget([request])
        said = request.answer.result() if request.answer.done() else None
        if isinstance(said, Embeddings) and request.counted:
            return _uncounted(said)
        request.counted = said is not None
        return said

    def forget(self, requests: Iterable[Request[A]]) -> None:
        """Let nobody else share these requests."""
        for request in requests:
            if self._known.get(request.texts) is request:
                del self._known[request.texts]

    def due(self) -> float | None:
        """Return in how many seconds who has just asked must call ``begin``; ``None``: somebody else does, or must.

        A caller alone does so at once. While calls are under way the first to wait gathers others.
        """
        if self._running >= self._most():
            return None
        if not self._running or not self._limits.gather_seconds or self._most() > self._limits.calls:
            return 0.0
        if self._gathering:
            return None
        self._gathering = True
        return self._limits.gather_seconds

    def begin(self, now: float) -> list[Call[A]]:
        """Return the calls to make now."""
        self._gathering = False
        begun = []
        while self._running < self._most() and (requests := self._next(now)):
            begun.append(Call(requests, now, max(request.seconds for request in requests)))
            for request in requests:
                request.call = begun[-1]
            self._running += 1
        return begun

    def ended(self, call: Call[A], said: Said, now: float) -> None:
        """Give every request its answer, or have the requests of a refused call sent again in parts.

        Not to answer is a matter of the embedder, and so is a wrong setting: then all of them have failed. Anything
        else may be the fault of one text, and the other callers must not suffer for it. A call that has run out of its
        time has failed for those who gave it that time; who joined it later and can still wait goes with the next one.
        """
        self._running -= 1
        if not isinstance(said, Exception):
            pace = (now - call.began) / (max(1, len(call.texts)) if self._limits.by_text else 1)
            slower = self._pace + _WEIGHT * (pace - self._pace)
            self._pace = min(pace, slower if self._pace else pace)
        requests, call.requests = call.requests, []  # a request knows its call: no cycle is left for the collector
        if isinstance(said, UnavailableError) and now - call.began > _TIME_UP * call.seconds:
            later = [request for request in requests if request.waiting and request.end > call.began + call.seconds]
            self._again += [later] if later else []
            requests = [request for request in requests if request not in later]
        answers = _shares(requests, said)
        if len(requests) > 1 and _refused(answers[0]):
            size = math.ceil(len(requests) / _PARTS)
            self._again += [requests[at : at + size] for at in range(0, len(requests), size)]
            return
        self.forget(requests)
        for request, answer in zip(requests, answers, strict=True):
            request.answer.set_result(answer)

    def _most(self) -> int:
        full = self._again or len(self._waiting) >= self._limits.texts
        return self._limits.full_calls if full else self._limits.calls

    def _next(self, now: float) -> list[Request[A]]:
        while self._again:
            part = self._again.popleft()
            awaited = [request for request in part if request.waiting]
            self.forget(request for request in part if not request.waiting)
            if awaited:
                return awaited
        taken = self._taken(now)
        if not taken and not self._running:  # else nobody would ever learn that calls are faster again
            taken = list(self._waiting.values())[-1:]
        for request in taken:
            del self._waiting[request.texts]
        return taken

    def _taken(self, now: float) -> list[Request[A]]:
        """Return the requests of the next call: the first ones whose callers will still wait at its end."""
        limits, most, expected = self._limits, self._limits.texts, self._pace
        if limits.by_text:
            most = min(most, math.ceil(len(self._waiting) / max(1, limits.calls - self._running)))
            longest = max((request.seconds for request in self._waiting.values()), default=0.0) / 2
            most = max(1, min(most, int(longest / self._pace))) if self._pace else most
            expected *= most
        taken: list[Request[A]] = []
        texts = characters = 0
        for request in self._waiting.values():
            if request.end < now + expected:
                continue
            texts += len(request.texts)
            characters += sum(map(len, request.texts))
            if taken and (texts > most or characters > limits.characters):
                break
            taken.append(request)
        return taken


def _refused(said: Said) -> bool:
    return isinstance(said, Exception) and not isinstance(said, UnavailableError | ConfigError)


def _shares(requests: Sequence[Request[A]], said: Said) -> list[Said]:
    """Return what each request gets of a call's answer; the first that is waited for carries what the call cost."""
    if isinstance(said, Exception) or len(requests) == 1:
        return [said] * len(requests)
    count = sum(len(request.texts) for request in requests)
    payer = next((request for request in requests if request.waiting), None)
    shares: list[Said] = []
    start = 0
    try:
        rows = np.asarray(said.vectors)
        if rows.ndim != 2 or len(rows) != count:
            error = ContractError(f"the embedder gave an array of shape {rows.shape} for {count} texts")
            return [error] * len(requests)
        for request in requests:
            own = replace(said, vectors=rows[start : start + len(request.texts)])
            shares.append(own if request is payer else _uncounted(own))
            start += len(request.texts)
    except Exception as wrong:  # noqa: BLE001 - a caller's own embedder may give anything
        return [wrong] * len(requests)
    return shares


def _uncounted(made: Embeddings) -> Embeddings:
    return Embeddings(made.vectors, calls=0)
