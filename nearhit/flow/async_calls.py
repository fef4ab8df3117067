"""Async calls: how an event loop tells the time and asks a judge about many pairs and runs code that blocks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from nearhit.resilience.background import off_loop
from nearhit.resilience.loop_clock import LoopClocks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nearhit.resilience.loop_clock import LoopClock

T = TypeVar("T")
R = TypeVar("R")


class AsyncCalls:
    """How an ``AsyncRunner`` tells the time and calls what is not a server; the twin of ``Calls``.

    Args:
        on_late: told how late an event loop was, in seconds, whenever it was.
    """

    def __init__(self, on_late: Callable[[float], None]) -> None:
        self._clocks = LoopClocks(on_late)

    def clock(self) -> LoopClock:
        """Return the clock of the running loop; time that the loop was late is not counted."""
        return self._clocks.running()

    async def each(self, work: Callable[[T], Awaitable[R]], items: Sequence[T], at_once: int) -> list[R]:
        """Return what ``work`` returns for each item, in order, with some of them at a time."""
        room = asyncio.Semaphore(at_once)

        async def one(item: T) -> R:
            async with room:
                return await work(item)

        return list(await asyncio.gather(*map(one, items)))


async def call_blocking_async(work: Callable[[], object]) -> None:
    """Run blocking work beside the event loop, or on it where no thread can be started."""
    await off_loop(work)
