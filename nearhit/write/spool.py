"""Spool: fills that wait in memory for the log's server, and the thread that sends them."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nearhit.resilience.background import new_thread

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH_FILLS = 64
BATCH_BYTES = 4 * 1024 * 1024
PAUSE_SECONDS = 0.5
"""How long the thread waits after a failure before it tries again."""

IDLE_SECONDS = 5.0
"""How long the thread waits for more before it ends."""


@dataclass(slots=True, eq=False)
class Spooled:
    """A fill that waits in memory.

    Attributes:
        lane: where it goes.
        blob: the message.
        queued_ms: when it was given, milliseconds since the epoch.
        sent: the log has it.
        dropped: a newer one has pushed it out.
        settled: gets an item once it is sent, or once a try of the spool has failed since; see ``wait``.
        heard: called then, on the spool's thread; for callers that cannot wait.
    """

    lane: str
    blob: bytes
    queued_ms: int
    sent: bool = False
    dropped: bool = False
    settled: queue.SimpleQueue[None] = field(default_factory=queue.SimpleQueue)
    heard: Callable[[], None] | None = None

    def settle(self) -> None:
        """Notify whoever waits."""
        if self.settled.empty():  # an outage of hours settles a waiting fill thousands of times
            self.settled.put(None)
        if self.heard is not None:
            self.heard()

    def wait(self, seconds: float) -> bool:
        """Wait until it is settled; return whether it is. No exception of a signal handler breaks it for others."""
        try:
            self.settled.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return False
        return True


class Spool:
    """Fills that wait in the memory of one process, oldest first; bounded. Thread-safe, not fork-safe.

    Args:
        send: sends a batch; returns whether the log has it. Called on the spool's own thread only.
        max_fills: how many are kept.
        max_bytes: how many bytes of messages are kept.
        batch_fills: how many are sent at once.
    """

    def __init__(
        self,
        send: Callable[[list[Spooled]], bool],
        max_fills: int,
        max_bytes: int,
        batch_fills: int = BATCH_FILLS,
    ) -> None:
        self._send = send
        self._batch_fills = batch_fills
        self._max_fills = max_fills
        self._max_bytes = max_bytes
        self._lock = threading.RLock()  # taken itself: an interrupt in a Condition's __enter__ leaves it locked
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[Spooled] = deque()
        self._sending: list[Spooled] = []
        self._bytes = 0
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self.failing = False

    def __len__(self) -> int:
        with self._lock:  # a fill that is just being taken is in neither
            return self._size()

    def _size(self) -> int:
        return len(self._waiting) + len(self._sending)

    def keep(self, fill: Spooled) -> tuple[bool, int]:
        """Add a fill; return whether it fits at all, and how many were dropped, itself or older ones."""
        if len(fill.blob) > self._max_bytes or not self._max_fills:
            return False, 1  # itself, and not all the others for it
        out: list[Spooled] = []
        with self._lock:
            self._waiting.append(fill)
            self._bytes += len(fill.blob)
            fits = True
            while self._waiting and (self._size() > self._max_fills or self._bytes > self._max_bytes):
                out.append(self._waiting.popleft())
                self._bytes -= len(out[-1].blob)
                fits = out[-1] is not fill
            if self._thread is None or not self._thread.is_alive():
                self._thread = new_thread("nearhit-spool", self._run)  # without one, the next fill tries again
            self._changed.notify()
        for one in out:
            one.dropped = True
            one.settle()
        return fits, len(out)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all is sent; returns whether it is."""
        end = time.monotonic() + timeout_seconds
        while len(self) and time.monotonic() < end:
            time.sleep(0.005)
        return not len(self)

    def close(self, timeout_seconds: float) -> int:
        """Try once more to send what waits, stop the thread, and return how many fills are lost with it."""
        end = time.monotonic() + timeout_seconds
        thread = self._thread
        if thread is not None and thread.is_alive():
            self.flush(timeout_seconds)
            self._closed.set()
            with self._lock:
                self._changed.notify()
            thread.join(max(0.0, end - time.monotonic()))
        with self._lock:
            left = self._size()
            self._waiting.clear()
            self._sending = []
            self._bytes = 0
        return left

    def _run(self) -> None:
        while self._take():
            done = False
            try:
                done = self._send(self._sending)
            finally:
                if not done:  # refused, or a bug that ends this thread: the fills stay, the next one starts another
                    with self._lock:
                        self._waiting.extendleft(reversed(self._sending))
                        self._sending = []
                        self.failing = True
                        for fill in self._waiting:
                            fill.settle()
            if not done:
                self._closed.wait(PAUSE_SECONDS)
                continue
            with self._lock:
                sent, self._sending = self._sending, []
                self._bytes = max(0, self._bytes - sum(len(fill.blob) for fill in sent))
            self.failing = False
            for fill in sent:
                fill.sent = True
                fill.settle()

    def _take(self) -> bool:
        """Take a batch; return False when the thread must end. Under the lock, so that no fill is kept unseen."""
        with self._lock:
            if not self._waiting and not self._closed.is_set():
                self._changed.wait(IDLE_SECONDS)
            if not self._waiting or self._closed.is_set():
                self._thread = None
                return False
            size = 0
            while self._waiting and len(self._sending) < self._batch_fills and size < BATCH_BYTES:
                self._sending.append(self._waiting.popleft())
                size += len(self._sending[-1].blob)
            return True
