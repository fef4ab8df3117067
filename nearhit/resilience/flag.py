"""Flag: an event that an interrupted waiter cannot leave locked."""

from __future__ import annotations

import contextlib
import queue
from collections import deque


class Flag:
    """What ``threading.Event`` is, for threads that signal handlers may interrupt with an exception.

    Such an exception in the middle of ``Condition.__enter__`` (CPython 3.11) leaves an ``Event`` locked, and its next
    ``set`` then waits for ever. This one takes no lock that is shared: each waiter has a queue of its own.

    >>> flag = Flag()
    >>> flag.wait(0.0)
    False
    >>> flag.set()
    >>> flag.wait(0.0)
    True
    """

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: deque[queue.SimpleQueue[None]] = deque()

    def is_set(self) -> bool:
        """Whether it was set since it was last cleared."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all who wait."""
        self._is_set = True
        while self._waiting:
            try:
                self._waiting.popleft().put(None)
            except IndexError:  # another thread sets it, too
                return

    def clear(self) -> None:
        """Take it back; who wakes now has been told already."""
        self._is_set = False

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until it is set, at most ``timeout_seconds``; return whether it was."""
        if self._is_set:
            return True
        if timeout_seconds <= 0:
            return False
        told: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._waiting.append(told)
        try:
            if self.is_set():  # between the first look and the queue
                return True
            told.get(timeout=timeout_seconds)
        except queue.Empty:
            return False
        finally:
            with contextlib.suppress(ValueError):  # it was told meanwhile
                self._waiting.remove(told)
        return True
