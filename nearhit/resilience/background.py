"""Background: one thread of a process, with the items that wait for it; it starts when it is needed."""

from __future__ import annotations

import asyncio
import inspect
import queue
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from nearhit.resilience.per_process import PerProcess
from nearhit.resilience.undo import unless_finished

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Ending(Protocol):
    """What runs in the background, or holds connections that the collector does not close."""

    def end(self) -> None:
        """Tell it to end; waits for nothing and takes no lock."""


def end_all(*parts: Ending) -> None:
    """End what a cache that nobody holds any more has begun; for its finalizer, which runs on any thread."""
    for part in parts:
        part.end()


def new_thread(name: str, work: Callable[..., None], *words: Any) -> threading.Thread | None:
    """Start a daemon thread and return it, or ``None`` where the machine gives none; the caller tries again later."""
    if sys.is_finalizing():  # starting one at the interpreter's end never returns
        return None
    thread = threading.Thread(target=work, args=words, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def start_thread(name: str, work: Callable[..., None], *words: Any) -> bool:
    """Start a daemon thread that does one thing; return whether the machine gave one."""
    return new_thread(name, work, *words) is not None


async def off_loop(work: Callable[[], object]) -> None:
    """Run blocking work beside the event loop, or on it where no thread can be started."""
    begun: list[bool] = []

    def once() -> None:
        if not begun:  # an executor that could not start a thread has kept the work, and may do it later
            begun.append(True)
            work()

    try:
        await asyncio.to_thread(once)
    except RuntimeError:
        if begun:
            raise
        once()


class _End:
    """Stands in the queue behind the last item."""


_END: Final = _End()


class Inbox(Generic[T]):
    """What the thread of a ``Background`` sees: its items, and whether it must end."""

    def __init__(self) -> None:
        self.items: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.turn = threading.Lock()
        self.stopping = False
        self._last_met = False

    @property
    def ended(self) -> bool:
        """Whether the thread must return: all items were taken, or it was told not to wait for them."""
        return self._last_met or self.stopping

    def take(self, timeout_seconds: float | None = None) -> T | None:
        """Return the next item; ``None`` when the thread must end, or when nothing came within the timeout."""
        if self.ended:
            return None
        try:
            item = self.items.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        if isinstance(item, _End):
            self._last_met = True
            return None
        return None if self.stopping else item


class EachItem(ABC, Generic[T]):
    """What handles items one by one on a daemon thread of its own, as ``Background`` starts it.

    Args:
        name: of the thread.
        max_waiting: items that may wait.
    """

    def __init__(self, name: str, max_waiting: int) -> None:
        self._thread: Background[T] = Background(name, self._handle_all, max_waiting)

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Handle what is waiting, within the time given, and stop the thread."""
        self._thread.close(timeout_seconds)

    def end(self) -> None:
        """Stop the thread without waiting for it, whatever waits: its owner was dropped."""
        self._thread.end()

    @abstractmethod
    def handle(self, item: T) -> None:
        """Handle one item, on the thread."""

    def _handle_all(self, inbox: Inbox[T]) -> None:
        while not inbox.ended:
            item = inbox.take()
            if item is not None:
                self.handle(item)


class Background(Generic[T]):
    """A daemon thread that works on items, or at intervals. Thread-safe and fork-safe.

    Every process has a thread and a queue of its own. The thread starts with the first item; where ``work`` returns
    before it has to, the next item starts another one. A thread that cannot be started is no error: the item waits, and
    the next call tries again.

    Example:
        >>> def work(inbox):
        ...     while not inbox.ended:
        ...         if (item := inbox.take()) is not None:
        ...             print(item)
        >>> printer = Background("printer", work)
        >>> printer.put("hello")
        True
        >>> printer.close(1.0)
        hello

    Args:
        name: of the thread.
        work: runs on the thread. A method is held weakly until then: its object is the one that owns this one.
        max_waiting: items that may wait; ``None`` sets no bound.
    """

    def __init__(self, name: str, work: Callable[[Inbox[T]], None], max_waiting: int | None = None) -> None:
        self._name = name
        self._work = weakref.WeakMethod(work) if inspect.ismethod(work) else lambda: work
        self._max_waiting = max_waiting
        self._inbox: PerProcess[Inbox[T]] = PerProcess(Inbox)
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the thread was told to end for good."""
        return self._closed

    def start(self) -> bool:
        """Start the thread unless it runs; return whether it runs. Never raises."""
        if self._closed or sys.is_finalizing():  # starting one at the interpreter's end never returns
            return False
        inbox = self._inbox.get()
        return inbox.thread is not None or self._started(inbox)

    def put(self, item: T) -> bool:
        """Hand an item to the thread; return whether it was taken. Returns at once and never raises."""
        if self._closed or sys.is_finalizing():
            return False
        inbox = self._inbox.get()
        if self._max_waiting is not None and inbox.items.qsize() >= self._max_waiting:
            self.start()
            return False
        inbox.items.put(item)
        self.start()
        return True

    def end(self) -> None:
        """Tell the thread to end, whatever waits. Waits for nothing and takes no lock: for finalizers."""
        self._closed = True
        inbox = self._inbox.get()
        inbox.stopping = True
        inbox.items.put(_END)

    def close(self, timeout_seconds: float) -> None:
        """Have the thread do what waits and end; wait for that, not longer than the timeout. Never raises."""
        self._closed = True
        self._inbox.get().items.put(_END)
        self.join(timeout_seconds)

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the thread, not longer than the timeout. Never raises."""
        thread = self._inbox.get().thread
        if thread is None or thread is threading.current_thread() or sys.is_finalizing():
            return
        try:
            thread.join(timeout_seconds)
        except RuntimeError:  # another call is just starting it: it meets the end of its items by itself
            return

    def _started(self, inbox: Inbox[T]) -> bool:
        """Start the thread, one call at a time; the others, and a signal handler inside this one, leave it to it."""
        if not inbox.turn.acquire(blocking=False):
            return True
        try:
            if inbox.thread is None:
                thread = threading.Thread(target=self._run, args=(inbox,), name=self._name, daemon=True)
                with unless_finished(lambda: setattr(inbox, "thread", None)):
                    inbox.thread = thread
                    thread.start()
        except RuntimeError:  # the machine gives this process no more threads, or the interpreter is ending
            return False
        finally:
            inbox.turn.release()
        return True

    def _run(self, inbox: Inbox[T]) -> None:
        while self._claimed(inbox):
            work = self._work()
            try:
                if work is not None:
                    work(inbox)
            finally:
                del work
                inbox.thread = None
            if inbox.items.empty() or inbox.ended:  # an item that came before the line above has started no thread
                return

    def _claimed(self, inbox: Inbox[T]) -> bool:
        """Return whether this thread is the one: a start that was interrupted may have been followed by another."""
        with inbox.turn:
            if inbox.thread not in {None, threading.current_thread()}:
                return False
            inbox.thread = threading.current_thread()
            return True
