"""Distance: how many lookups hit where the server is 1 to 100 ms away, with and without lost packets; both twins."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit_worker.stack import ValkeyServer

from bench.measure import Line, at_least
from nearhit import AsyncSemanticCache, Hit, Miss, SemanticCache, Settings
from tests.support.delay import Delay
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUND_TRIPS_MS = (1, 20, 60, 100)
LOSSES = (0.0, 0.01)
GOALS = {0.0: 0.99, 0.01: 0.95}
AT_ONCE = 8
"""Callers at a time."""

WITHIN_SECONDS = 10.0
"""How long a cache without a warm-up may take to its first hit."""

RESENT_SECONDS = 0.2
"""How long Linux waits at least, beside the round trip, before it sends a lost packet again."""

QUESTION = "What is it?"


@dataclass(slots=True)
class Seen:
    """What lookups came to.

    Attributes:
        first_seconds: to the first hit, from a cold start; ``None`` where there was none.
        outcomes: of all lookups after it, by ``hit`` or the reason of the miss.
    """

    first_seconds: float | None = None
    outcomes: Counter[str] = field(default_factory=Counter)

    def count(self, outcome: Hit | Miss) -> None:
        """Count one lookup."""
        self.outcomes["hit" if isinstance(outcome, Hit) else outcome.reason.value] += 1

    @property
    def share(self) -> float:
        """Share of hits; 0 where the cache never came to one."""
        return self.outcomes["hit"] / max(1, self.outcomes.total())


def lines(seconds: float) -> Iterator[Line]:
    """Yield the hit rate of both twins at each distance.

    Args:
        seconds: of lookups for each line.
    """
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder) / "valkey") as server:
        here = Settings(threshold=0.8, url=server.url, model="hash/64", guard=False, engine="local")
        store = Store(here)
        for losses in LOSSES:
            for milliseconds in ROUND_TRIPS_MS:
                for twin in ("", ", asyncio"):
                    store.add(QUESTION, "a thing")  # each time: it lives for a minute
                    with Delay(server.port, milliseconds / 1000, losing(losses, milliseconds / 1000)) as distant:
                        there = Settings(
                            threshold=0.8,
                            url=f"valkey://127.0.0.1:{distant.port}",
                            model="hash/64",
                            guard=False,
                            engine="local",
                        )
                        seen = asyncio.run(_awaited(there, seconds)) if twin else _blocking(there, seconds)
                    yield line(f"round trip of {milliseconds} ms, {losses:.0%} lost{twin}", seen, GOALS[losses])
        store.close()


def line(where: str, seen: Seen, goal: float) -> Line:
    """Return the line of one distance."""
    first = "never a hit" if seen.first_seconds is None else f"first hit after {seen.first_seconds:.2f} s"
    counts = ", ".join(f"{name} {count:,}" for name, count in seen.outcomes.most_common())
    return at_least(f"{where}: hits of {AT_ONCE} callers at once", seen.share, goal, "share", f"{first}; {counts}")


def losing(share: float, round_trip_seconds: float) -> Callable[[bytes], list[tuple[bytes, float]]]:
    """Return a way on which this share of what the server says is lost and sent again."""
    draw = random.Random(11)

    def shape(data: bytes) -> list[tuple[bytes, float]]:
        return [(data, RESENT_SECONDS + round_trip_seconds if draw.random() < share else 0.0)]

    return shape


def _blocking(settings: Settings, seconds: float) -> Seen:
    seen, began = Seen(), time.monotonic()
    with SemanticCache(settings) as cache:
        while seen.first_seconds is None and time.monotonic() - began < WITHIN_SECONDS:
            if cache.lookup(QUESTION):
                seen.first_seconds = time.monotonic() - began
        end = time.monotonic() + seconds

        def ask(_: int) -> None:
            while time.monotonic() < end:
                seen.count(cache.lookup(QUESTION))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(ask, range(AT_ONCE)))
    return seen


async def _awaited(settings: Settings, seconds: float) -> Seen:
    seen, began = Seen(), time.monotonic()
    async with AsyncSemanticCache(settings) as cache:
        while seen.first_seconds is None and time.monotonic() - began < WITHIN_SECONDS:
            if await cache.lookup(QUESTION):
                seen.first_seconds = time.monotonic() - began
        end = time.monotonic() + seconds

        async def ask() -> None:
            while time.monotonic() < end:
                seen.count(await cache.lookup(QUESTION))

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return seen
