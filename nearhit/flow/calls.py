"""Calls: how a blocking runner tells the time and asks a judge about many pairs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


class Calls:
    """How a ``Runner`` tells the time and calls what is not a server; the twin of ``AsyncCalls``.

    Args:
        on_late: never told: only event loops come late.
    """

    def __init__(self, on_late: Callable[[float], None]) -> None:
        del on_late

    now = staticmethod(time.monotonic)

    def clock(self) -> Self:
        """Return the clock of this machine."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def each(self, work: Callable[[T], R], items: Sequence[T], at_once: int) -> list[R]:
        """Return what ``work`` returns for each item, in order, with some of them at a time."""
        if len(items) == 1:
            return [work(items[0])]
        with ThreadPoolExecutor(min(at_once, len(items)), "nearhit-judge") as pool:
            return list(pool.map(work, items))


def call_blocking(work: Callable[[], object]) -> None:
    """Run blocking work."""
    work()
