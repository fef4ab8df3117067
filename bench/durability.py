"""Measures what durability costs: fills a second of one process, written or confirmed, by syncing and by callers.

Run: python -m bench.durability [--seconds 2]; it writes its table into docs/write-path.md.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit_worker.stack import ValkeyServer

from bench.tables import markdown, put, where
from nearhit import AsyncSemanticCache, FillOutcome, SemanticCache, Settings
from nearhit.valkey.durability import DURABILITIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CALLERS = (1, 16, 64)
SYNCS = ("everysec", "always")
ANSWER = "Use the link on the sign-in page." * 10

Seen = list[float]
"""Seconds of each accepted fill."""


def main() -> int:
    """Measure every combination, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.durability", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    rows = [row for sync in SYNCS for row in _rows(sync, seconds)]
    head = ("`appendfsync`", "durability", "callers", "threads: fills/s", "p50 ms", "asyncio: fills/s", "p50 ms")
    text = markdown(head, rows)
    text += f"\n\n{where()} One process, {seconds:g} s a figure, loopback, no worker; {_pace()}"
    print(text)
    put("write-path.md", "durability", text)
    return 0


def _rows(sync: str, seconds: float) -> Iterator[Sequence[object]]:
    for durability in DURABILITIES:
        for callers in CALLERS:
            with (
                tempfile.TemporaryDirectory() as folder,
                ValkeyServer(Path(folder), durable=True, appendfsync=sync) as log,
            ):
                settings = _settings(log, durability)
                threads = _threads(settings, callers, seconds)
                tasks = asyncio.run(_tasks(settings, callers, seconds))
            shown = [cell for seen in (threads, tasks) for cell in _shown(seen, seconds)]
            print(sync, durability, callers, *shown, flush=True)
            yield (sync, durability, callers, *shown)


def _settings(log: ValkeyServer, durability: str) -> Settings:
    return Settings(
        threshold=0.9,
        url=log.url,
        broker_url="memory://",
        model="hash/64",
        durability=durability,
        enqueue_deadline_ms=10_000,
    )


def _shown(seen: Seen, seconds: float) -> tuple[str, str]:
    if not seen:
        return "0", ""
    return f"{len(seen) / seconds:,.0f}", f"{statistics.median(seen) * 1000:.2f}"


def _threads(settings: Settings, callers: int, seconds: float) -> Seen:
    seen: Seen = []
    with SemanticCache(settings) as cache:
        cache.fill("the connection is open", ANSWER)
        end = time.perf_counter() + seconds

        def fill(caller: int) -> None:
            for number in itertools.count():
                started = time.perf_counter()
                outcome = cache.fill(f"question {caller} {number}", ANSWER)
                if (now := time.perf_counter()) > end:
                    return
                if outcome is FillOutcome.ACCEPTED:
                    seen.append(now - started)

        crowd = [threading.Thread(target=fill, args=(caller,)) for caller in range(callers)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
    return seen


async def _tasks(settings: Settings, callers: int, seconds: float) -> Seen:
    seen: Seen = []
    async with AsyncSemanticCache(settings) as cache:
        await cache.fill("the connection is open", ANSWER)
        end = time.perf_counter() + seconds

        async def fill(caller: int) -> None:
            for number in itertools.count():
                started = time.perf_counter()
                outcome = await cache.fill(f"question {caller} {number}", ANSWER)
                if (now := time.perf_counter()) > end:
                    return
                if outcome is FillOutcome.ACCEPTED:
                    seen.append(now - started)

        await asyncio.gather(*(fill(caller) for caller in range(callers)))
    return seen


def _pace() -> str:
    """Return how fast this machine's disk syncs, for who compares."""
    times = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    return f"an fdatasync of 4 KiB takes {statistics.median(times) * 1000:.1f} ms here (p50 of 50)."


if __name__ == "__main__":
    raise SystemExit(main())
