"""Measures what a kill costs: for each thing that is killed, how long until all is stored, and what is lost.

Run: python -m bench.chaos [--fills 10000]; it writes its table into docs/write-path.md.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.tables import markdown, put, where
from nearhit import FillOutcome
from tests.chaos.field import CLAIM_IDLE_MS, Field, Filler, check, children_of, end

if TYPE_CHECKING:
    from collections.abc import Callable

PREFORK = ("--pool", "prefork")


@dataclass(frozen=True, slots=True)
class Kill:
    """Something that is killed, and what then happens."""

    what: str
    then: str
    pool: tuple[str, ...]
    do: Callable[[Field], None]


def worker(ground: Field) -> None:
    """Kill a worker and all its children, and start another one."""
    victim = ground.workers[0]
    for pid in children_of(victim):
        end(pid)
    victim.kill()
    victim.spawn()


def pool_child(ground: Field) -> None:
    """Kill one child of a prefork pool."""
    for pid in children_of(ground.workers[0])[:1]:
        end(pid)


def log_server(ground: Field) -> None:
    """Kill the log's server, which is the Celery broker too, and start it after a second."""
    ground.log_server.kill()
    time.sleep(1.0)
    ground.log_server.start()


def cache_server(ground: Field) -> None:
    """Kill the cache server and start it after a second."""
    ground.cache_server.kill()
    time.sleep(1.0)
    ground.cache_server.start()


KILLS = (
    Kill("a worker, threads pool", "what it had in work is claimed by another after `claim_idle_ms`", (), worker),
    Kill("a worker, prefork pool", "the same", PREFORK, worker),
    Kill("a prefork pool's child", "the same; its Celery message is delivered again at once", PREFORK, pool_child),
    Kill(
        "the log's server, 1 s away",
        "callers spool in memory; on return the spool is sent, and the workers read on",
        (),
        log_server,
    ),
    Kill("the cache server, 1 s away", "fills wait with backoff; on return they are written", (), cache_server),
)


def main() -> int:
    """Kill everything in turn, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fills", type=int, default=2_000, help="fills for each row")
    fills = parser.parse_args().fills
    rows = [_measured(kill, fills) for kill in KILLS]
    counted = ("kills", "fills", "spooled", "lost", "twice")
    head = ("killed (SIGKILL)", "what happens", *counted, "stored after, p50", "longest")
    text = markdown(head, rows)
    text += (
        f"\n\n{where()} 100 fills/s while a kill comes every 4 s; two workers, `claim_idle_ms` {CLAIM_IDLE_MS:,} "
        "(15,000 by default: add 13 s). *Stored after*: from a kill until all that was filled before it is searchable."
    )
    print(text)
    put("write-path.md", "chaos", text)
    return 0


def _measured(kill: Kill, fills: int) -> tuple[object, ...]:
    dice = random.Random(1)
    waits: list[float] = []
    with tempfile.TemporaryDirectory() as folder, Field(Path(folder)) as ground:
        ground.add_worker(*kill.pool)
        ground.add_worker(*kill.pool)
        with ground.client() as cache:
            cache.warm_up()
            filler = Filler(cache, fills, per_second=100, again_share=0.0).start()
            while filler.done < fills - 300:
                time.sleep(dice.uniform(0.5, 1.5))
                before = filler.done
                killed = time.monotonic()
                kill.do(ground)
                _wait_until_there(ground, before)
                waits.append(time.monotonic() - killed)
                time.sleep(max(0.0, killed + 4.0 - time.monotonic()))
            filler.join(60)
            ground.wait_until_stored(120)
            counts = check(ground, filler)
    waits.sort()
    lost = counts["missing"] - counts["dead letters"]
    spooled = filler.outcomes.get(FillOutcome.SPOOLED, 0)
    middle, longest = waits[len(waits) // 2], waits[-1]
    seen = (f"{middle:.1f} s", f"{longest:.1f} s")
    return (kill.what, kill.then, len(waits), fills, spooled, lost, counts["twice"], *seen)


def _wait_until_there(ground: Field, fills: int) -> None:
    """Wait until the first ``fills`` questions are stored."""
    wanted = {f"question {number}" for number in range(fills)}
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if wanted <= {row.get(b"prompt", b"").decode() for row in ground.entries().values()}:
                return
        except OSError:
            pass
        except Exception as error:
            if "redis" not in type(error).__module__:
                raise
        time.sleep(0.05)
    raise TimeoutError(f"{fills} fills are not stored within 120 s")


if __name__ == "__main__":
    raise SystemExit(main())
