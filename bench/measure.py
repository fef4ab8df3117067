"""Measure: times two calls in turns, so that whatever else the machine does falls on both alike."""

from __future__ import annotations

import gc
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the report.

    Attributes:
        name: what was measured.
        value: the figure; ``None`` where it could not be measured, and ``note`` says why.
        unit: ``ratio`` or a unit.
        goal: what it should be, as text; empty where nothing was promised.
        met: whether it is; ``None`` where nothing was promised.
        note: what stands behind the figure.
    """

    name: str
    value: float | None
    unit: str
    goal: str = ""
    met: bool | None = None
    note: str = ""

    def row(self) -> dict[str, Any]:
        """Return the line as JSON."""
        return {**asdict(self), "value": None if self.value is None else round(self.value, 4)}


def at_most(name: str, value: float, limit: float, unit: str = "ratio", note: str = "") -> Line:
    """Return a line whose goal is a ceiling."""
    return Line(name, value, unit, f"≤ {limit:g}", value <= limit, note)


def at_least(name: str, value: float, limit: float, unit: str = "ratio", note: str = "") -> Line:
    """Return a line whose goal is a floor."""
    return Line(name, value, unit, f"≥ {limit:g}", value >= limit, note)


def not_measured(name: str, reason: str, goal: str = "") -> Line:
    """Return the line of something that could not be measured, which meets no goal."""
    return Line(name, None, "", goal, False if goal else None, f"not measured: {reason}")


@dataclass(frozen=True, slots=True)
class Times:
    """Times of many calls in seconds, sorted."""

    seconds: list[float]

    def at(self, share: float) -> float:
        """Return the time that ``share`` of the calls stay under."""
        return self.seconds[min(len(self.seconds) - 1, int(share * len(self.seconds)))]

    @property
    def p50_us(self) -> float:
        """The median in microseconds."""
        return self.at(0.5) * 1e6

    @property
    def p99_us(self) -> float:
        """The 99th percentile in microseconds."""
        return self.at(0.99) * 1e6


def in_turns(calls: int, *measured: Callable[[int], object]) -> list[Times]:
    """Call each of ``measured`` ``calls`` times, in turns, with the number of the call; return their times.

    The order changes with every round: who comes second finds the server's memory warm, which at 1,000 entries makes
    a search 15 % faster.
    """
    times: list[list[float]] = [[] for _ in measured]
    gc.collect()
    gc.disable()
    try:
        for number in range(-WARM_UP, calls):
            for at, call in _ordered(measured, number):
                started = time.perf_counter()
                call(number)
                if number >= 0:
                    times[at].append(time.perf_counter() - started)
    finally:
        gc.enable()
    return [Times(sorted(one)) for one in times]


async def in_turns_async(calls: int, *measured: Callable[[int], Awaitable[object]]) -> list[Times]:
    """Do as ``in_turns`` does with calls that are awaited."""
    times: list[list[float]] = [[] for _ in measured]
    gc.collect()
    gc.disable()
    try:
        for number in range(-WARM_UP, calls):
            for at, call in _ordered(measured, number):
                started = time.perf_counter()
                await call(number)
                if number >= 0:
                    times[at].append(time.perf_counter() - started)
    finally:
        gc.enable()
    return [Times(sorted(one)) for one in times]


def _ordered(measured: Sequence[T], number: int) -> list[tuple[int, T]]:
    placed = list(enumerate(measured))
    return placed if number % 2 else placed[::-1]


def against(ours: Times, raw: Times) -> str:
    """Return both medians and 99th percentiles as a note."""
    return f"p50 {ours.p50_us:.0f} µs against {raw.p50_us:.0f} µs, p99 {ours.p99_us:.0f} µs against {raw.p99_us:.0f} µs"
