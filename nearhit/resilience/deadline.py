"""Deadline: holds a call to its time limit, whatever the client inside it does.

A client's own timeout is not enough: it counts each read anew, it retries, and a dead endpoint has held
requests for eleven minutes. Here the call runs on a thread that its caller stops waiting for.
"""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

from nearhit.errors import ConfigError, UnavailableError
from nearhit.resilience.background import start_thread
from nearhit.resilience.loop_clock import LoopClocks
from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

MAX_ABANDONED = 8


class BoundedCalls(Generic[T]):
    """Calls of one part, each with its answer or an error within the time that its caller has.

    A call costs a thread start, 0.1 ms. The threads are bounded: one for each waiting caller, and at most
    ``max_abandoned`` that nobody waits for any more; while that many hang, further calls fail at once.

    Args:
        name: of the part, for messages.
        error: what a call that came too late raises.
        thread: name of the threads.
        max_abandoned: how many hanging calls are borne before further ones are refused.

    Raises:
        ConfigError: ``max_abandoned`` is less than 1.
    """

    def __init__(
        self, name: str, error: type[UnavailableError], thread: str, max_abandoned: int = MAX_ABANDONED
    ) -> None:
        if max_abandoned < 1:
            raise ConfigError(f"max_abandoned={max_abandoned} is less than 1")
        self._name = name
        self._error = error
        self._thread = thread
        self._max_abandoned = max_abandoned
        self._counts = PerProcess(_Abandoned)  # a forked child has none of its parent's threads
        self._clocks = LoopClocks(lambda _: None)

    def run(self, work: Callable[[], T], timeout_seconds: float) -> T:
        """Return what ``work`` returns, or raise what it raises.

        Raises:
            UnavailableError: of the class given, when nothing came within ``timeout_seconds``, when too many
                earlier calls still hang, or when the machine gives no thread.
        """
        abandoned = self._counts.get()
        if abandoned.count >= self._max_abandoned:
            raise self._error(f"{self._name}: {abandoned.count} earlier calls still hang")
        answer: Future[T] = Future()
        context = contextvars.copy_context()  # tracing of the application goes along
        if not start_thread(self._thread, context.run, _run, work, answer):
            raise self._error(f"{self._name}: no thread can be started")
        try:
            return answer.result(timeout_seconds)
        except TimeoutError as error:
            abandoned.add(answer)
            raise self._too_late(timeout_seconds) from error

    async def run_async(self, work: Awaitable[T], timeout_seconds: float) -> T:
        """Return what ``work`` gives as ``run`` does; it is cancelled at the deadline, by the loop's own clock."""
        try:
            async with self._clocks.running().timeout(timeout_seconds):
                return await work
        except TimeoutError as error:
            raise self._too_late(timeout_seconds) from error

    def _too_late(self, timeout_seconds: float) -> UnavailableError:
        return self._error(f"{self._name} gave no answer within {timeout_seconds:g} s")


def _run(work: Callable[[], T], answer: Future[T]) -> None:
    """Run on a daemon thread, which never keeps the process from ending."""
    try:
        answer.set_result(work())
    except BaseException as error:  # noqa: BLE001 - raised again in the waiting caller
        answer.set_exception(error)


class _Abandoned:
    """How many calls run that nobody waits for."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, answer: Future[T]) -> None:
        with self._lock:
            self.count += 1
        answer.add_done_callback(lambda _: self._remove())  # runs at once if it has ended meanwhile

    def _remove(self) -> None:
        with self._lock:
            self.count -= 1
