"""Joined embedder: callers who want texts embedded at the same time share calls."""

from __future__ import annotations

import asyncio
import copy
import os
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from nearhit.domain.sight import sight_of
from nearhit.embedding.call_queue import CallQueue, Limits
from nearhit.errors import EmbedderBusyError, EmbedderUnavailableError, NearhitError
from nearhit.resilience.background import start_thread
from nearhit.resilience.loop_clock import LoopClock
from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.domain.sight import Sight
    from nearhit.embedding.call_queue import Call, Request, Said
    from nearhit.flow.ports import Embedder, Embeddings

REMOTE: Final = Limits(calls=8, full_calls=16, texts=64, gather_seconds=0.002)
"""64 texts are what a worker's batch has, too. See docs/decisions.md."""

_CORES = min(4, os.cpu_count() or 1)
IN_PROCESS: Final = Limits(calls=_CORES, full_calls=_CORES, texts=16, by_text=True)
"""A call for each core; a local model is no faster with more than 16 texts, see docs/decisions.md."""


class JoinedEmbedder:
    """The embedder ``inner`` for many callers at once, in threads and in event loops. Thread-safe and fork-safe.

    A caller who comes alone has a call of its own at once. Who comes while others are under way goes along in the next
    one; who asks for the same texts as another shares its vectors. Every caller waits for no longer
    than its own deadline, and one that gives up ends nobody else's call. A call that fails fails for all who share
    it, but one that is refused is sent again in parts, so that a bad text is refused alone.

    Args:
        inner: the embedder that does the work; one that is not in this process keeps its time limit.
        limits: how large calls are; by default by whether ``inner`` is in this process.
    """

    def __init__(self, inner: Embedder, limits: Limits | None = None) -> None:
        self.name = inner.name
        self.in_process = inner.in_process
        self.inner = inner
        self._sight = sight_of(inner)
        self._limits = limits or (IN_PROCESS if inner.in_process else REMOTE)
        self._threads = PerProcess(partial(_Threads, self._limits))
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"JoinedEmbedder({self.inner!r})"

    def sight(self, text: str) -> Sight:
        """Return how much of ``text`` the inner embedder reads, or what is assumed where it does not say."""
        return self._sight(text)

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts``; raises what the inner embedder raises.

        Raises:
            EmbedderUnavailableError: also when nothing came within ``timeout_seconds``.
            EmbedderBusyError: the calls of other callers have used up that time.
        """
        here = self._threads.get()
        now = time.monotonic()
        with here.lock:
            request = here.queue.ask(tuple(texts), timeout_seconds, now)
            due = here.queue.due()
            begun = here.queue.begin(now) if due == 0 else []
        try:
            if due:
                with suppress(TimeoutError):
                    request.answer.result(min(due, timeout_seconds))
                with here.lock:
                    begun = here.queue.begin(time.monotonic())
            own = [call for call in begun if call.requests == [request] and call.seconds <= timeout_seconds]
            self._make(here, own + [call for call in begun if call not in own and not self._begun(here, call)])
            with suppress(TimeoutError):
                request.answer.result(max(0.0, now + timeout_seconds - time.monotonic()))
        finally:
            with here.lock:
                said = here.queue.leave(request)
        return self._given(said, request, timeout_seconds)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` as ``embed`` does; a call that nobody waits for any more is cancelled."""
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        if here is None:
            here = self._loops[loop] = _Loop(self.inner, self._limits)
        with here.clock as clock:
            request = here.ask(tuple(texts), timeout_seconds)
            try:
                await clock.wait(request.answer, clock.now() + timeout_seconds)
            finally:
                said = here.leave(request)
        return self._given(said, request, timeout_seconds)

    def _make(self, here: _Threads, calls: list[Call[Future[Said]]]) -> None:
        """Make calls on this thread, and begin those that waited for their end on threads of their own."""
        for one in calls:
            said: Said = _interrupted(self.name)
            try:
                said = self.inner.embed(one.texts, one.seconds)
            except Exception as error:  # noqa: BLE001 - raised again in every caller
                said = error
            finally:
                now = time.monotonic()
                with here.lock:
                    here.queue.ended(one, said, now)
                    begun = here.queue.begin(now)
                calls += [other for other in begun if not self._begun(here, other)]

    def _begun(self, here: _Threads, call: Call[Future[Said]]) -> bool:
        """Make a call on a thread of its own; return whether there is one."""
        return start_thread("nearhit-embed", call.context.run, self._make, here, [call])

    def _given(self, said: Said | None, request: Request[Any], seconds: float) -> Embeddings:
        """Return an answer, or raise an exception that is this caller's own."""
        if said is None and request.call is None:
            raise EmbedderBusyError(f"{self.name}: no embedding call came free within {seconds:g} s")
        if said is None:
            raise EmbedderUnavailableError(f"{self.name} gave no answer within {seconds:g} s")
        if isinstance(said, NearhitError):
            raise copy.copy(said) from said
        if isinstance(said, Exception):
            raise EmbedderUnavailableError(f"{self.name} raised {type(said).__name__}") from said
        return said


def _interrupted(name: str) -> EmbedderUnavailableError:
    return EmbedderUnavailableError(f"{name}: the call was interrupted")


class _Threads:
    """The calls of the threads of a process."""

    def __init__(self, limits: Limits) -> None:
        self.lock = threading.Lock()
        self.queue: CallQueue[Future[Said]] = CallQueue(limits, Future)


class _Loop:
    """The calls of an event loop, on its clock: callers whom the loop holds up lose no time."""

    def __init__(self, inner: Embedder, limits: Limits) -> None:
        self._inner = inner
        self.clock = LoopClock(lambda _: None)
        self.queue: CallQueue[asyncio.Future[Said]] = CallQueue(
            limits, lambda: asyncio.get_running_loop().create_future()
        )
        self._due = False

    def ask(self, texts: tuple[str, ...], seconds: float) -> Request[asyncio.Future[Said]]:
        """Return the request for ``texts``; it goes with all that are asked for in this turn of the loop, or later."""
        request = self.queue.ask(texts, seconds, self.clock.now())
        due = self.queue.due()
        if due:
            asyncio.get_running_loop().call_later(due, self._begin)
        elif due == 0 and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._begin)
        return request

    def leave(self, request: Request[asyncio.Future[Said]]) -> Said | None:
        """Return the answer, if it is there; cancel a call that nobody waits for any more.

        Work on the CPU goes on all the same, on a thread, and until it ends no other call may take its place.
        """
        said, call = self.queue.leave(request), request.call
        if call is not None and call.task is not None and not call.awaited and not self._inner.in_process:
            self.queue.forget(call.requests)
            call.task.cancel()
        return said

    def _begin(self) -> None:
        self._due = False
        for call in self.queue.begin(self.clock.now()):
            call.task = asyncio.get_running_loop().create_task(self._made(call), context=call.context)
            call.task.add_done_callback(partial(self._ended, call))

    async def _made(self, call: Call[asyncio.Future[Said]]) -> Embeddings:
        return await self._inner.embed_async(call.texts, call.seconds)

    def _ended(self, call: Call[asyncio.Future[Said]], task: asyncio.Task[Embeddings]) -> None:
        error = _interrupted(self._inner.name) if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Exception):
            error = _interrupted(self._inner.name)
        self.queue.ended(call, error or task.result(), self.clock.now())
        self._begin()
