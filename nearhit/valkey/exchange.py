"""Exchange: what one caller has sent over a connection that many share, and the errors that end it."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from nearhit.errors import StoreUnavailableError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class ConnectionLost(StoreUnavailableError):  # noqa: N818 - it becomes an error only where nothing can replace it
    """The connection ended before the reply came.

    Attributes:
        sent: the server may have seen the commands.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class NoReply(StoreUnavailableError):  # noqa: N818 - told to callers with the time that they had in all
    """No reply came within the time that the server had."""


class Exchange:
    """What one caller sent and waits for: its place in the order of replies stays when the caller has gone."""

    __slots__ = (
        "answered",
        "blob",
        "future",
        "heavy",
        "looked_at",
        "looks",
        "reads",
        "replies",
        "seconds",
        "sent_at",
        "timer",
        "wanted",
    )

    def __init__(self, blob: bytes, wanted: int, seconds: float, future: asyncio.Future[list[Any]]) -> None:
        self.blob = blob
        self.wanted = wanted
        self.seconds = seconds
        self.future = future
        self.heavy = self.answered = False
        self.replies: list[Any] = []
        self.sent_at: float | None = None
        self.looks = 0
        self.looked_at = 0.0
        self.reads = 0
        self.timer: asyncio.Handle | None = None

    def fail(self, error: StoreUnavailableError) -> None:
        """Let the caller have an error, if it still waits."""
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a caller that is cancelled in this very turn never asks for it


class Alarm:
    """One timer for all exchanges of a connection, since nearly none is still waiting when its time is over.

    Args:
        loop: that the connection belongs to.
        expire: told of an exchange that was not answered in time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, expire: Callable[[Exchange], None]) -> None:
        self._loop = loop
        self._expire = expire
        self._due: list[tuple[float, int, Exchange]] = []
        self._count = 0
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0

    def set(self, exchange: Exchange, due: float) -> None:
        """Look at an exchange at ``due``, by the clock of the loop."""
        self._count += 1
        heappush(self._due, (due, self._count, exchange))
        if self._timer is None or due < self._rings_at:
            self._wind()

    def forget_answered(self) -> None:
        """Let go of exchanges that were answered; a later one stays until those before it have gone."""
        due = self._due
        while due and due[0][2].answered:
            heappop(due)

    def end(self) -> None:
        """Let go of all."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _wind(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._due[0][0]
        self._timer = self._loop.call_at(self._rings_at, self._ring)

    def _ring(self) -> None:
        now, due = self._loop.time(), self._due
        while due and (due[0][2].answered or due[0][0] <= now):
            exchange = heappop(due)[2]
            if not exchange.answered:
                self._expire(exchange)
        self._timer = None
        if due:
            self._wind()
