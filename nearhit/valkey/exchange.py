"""Exchange: what one caller has sent over a connection that many share, and the errors that end it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.errors import StoreUnavailableError

if TYPE_CHECKING:
    import asyncio


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
        self.heavy = False
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
