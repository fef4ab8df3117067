"""Loop clock: time as it passes while an event loop is on time, for deadlines that a busy loop must not use up."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_BEAT_SECONDS: Final = 0.002
_ON_TIME_SECONDS: Final = 0.002
"""A timer that comes later than this was held up; event loops round by a millisecond, and a machine has other work."""

_TURNS = 2
"""Turns of a loop in which all that has arrived is read: loops differ in whether timers or sockets come first."""


class LoopClock:
    """Monotonic seconds that stand still while an event loop comes late.

    A deadline says how long a caller waits for others. While the loop runs something else, for 10 ms in every 12 or
    for a burst of a thousand lookups, an answer may long have arrived, and no caller could have gone on with it. So
    that time is not held against the server. The clock measures it by a timer, which runs while somebody uses it.

    >>> async def scene():
    ...     with LoopClock(lambda seconds: None) as clock:
    ...         await asyncio.sleep(0.01)
    ...         before = clock.now()
    ...         time.sleep(0.1)
    ...         return clock.now() - before < 0.05
    >>> asyncio.run(scene())
    True

    Args:
        on_late: told how late the loop was, in seconds, whenever it was.
    """

    def __init__(self, on_late: Callable[[float], None]) -> None:
        self._on_late = on_late
        self._users = 0
        self._due: float | None = None
        self._lost = 0.0
        self._shown = 0.0

    def now(self) -> float:
        """Return the seconds that have passed while the loop was on time."""
        now = time.monotonic()
        self._shown = max(self._shown, now - self._lost - self._late_by(now))
        return self._shown

    def __enter__(self) -> Self:
        self._users += 1
        if self._due is None:
            self._set(asyncio.get_running_loop(), time.monotonic())
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1

    async def wait(self, future: asyncio.Future[Any], end: float) -> bool:
        """Wait for a future until ``end`` of this clock, in use; return whether it is done."""
        while not future.done() and (left := end - self.now()) > 0:
            await asyncio.wait({future}, timeout=left)
        for _ in range(_TURNS):
            if not future.done():
                await asyncio.sleep(0)
        return future.done()

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Cancel what runs inside after ``seconds`` of this clock, as ``asyncio.timeout`` does.

        What had arrived by then is taken first: two turns of the loop pass between the end and the cancellation.
        """
        loop, end = asyncio.get_running_loop(), self.now() + seconds
        timer: asyncio.Handle

        def look(turns: int = 0) -> None:
            nonlocal timer
            left = end - self.now()
            if left > 0:
                timer = loop.call_later(left, look)
            elif turns < _TURNS:
                timer = loop.call_soon(look, turns + 1)
            else:
                limit.reschedule(loop.time())

        with self:
            async with asyncio.timeout(None) as limit:
                timer = loop.call_later(max(0.0, seconds), look)
                try:
                    yield limit
                finally:
                    timer.cancel()

    def _set(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        self._due = now + _BEAT_SECONDS
        loop.call_later(_BEAT_SECONDS, self._beat, loop)

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        late = self._late_by(now)
        if late:
            self._lost += late
            self._on_late(late)
        self._due = None
        if self._users:
            self._set(loop, now)

    def _late_by(self, now: float) -> float:
        if self._due is None:
            return 0.0
        late = now - self._due
        return late if late > _ON_TIME_SECONDS else 0.0


class LoopClocks:
    """The clock of each event loop.

    Args:
        on_late: as for ``LoopClock``.
    """

    def __init__(self, on_late: Callable[[float], None]) -> None:
        self._on_late = on_late
        self._clocks: WeakKeyDictionary[asyncio.AbstractEventLoop, LoopClock] = WeakKeyDictionary()

    def running(self) -> LoopClock:
        """Return the clock of the running loop."""
        loop = asyncio.get_running_loop()
        clock = self._clocks.get(loop)
        if clock is None:
            clock = self._clocks[loop] = LoopClock(self._on_late)
        return clock
