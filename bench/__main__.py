"""Bench: runs every comparison and writes docs/benchmarks.json and docs/benchmarks.md.

``python -m bench`` takes about forty minutes; ``--quick`` about six, at 1,000 entries. ``--only growth``, which takes
as long again, goes up to a million. What a run leaves out stays in both files as an earlier run measured it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from bench import concurrency, distance, embedding, fills, growth, load, lookups, report, seed
from bench.measure import Line, not_measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def main() -> int:
    """Run what was asked for; return 0 whether or not the goals are met, since machines differ."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 entries only, fewer calls")
    parser.add_argument(
        "--module",
        default=os.environ.get("NEARHIT_TEST_SEARCH_MODULE", ""),
        help="path of libsearch.so; without it the local engine alone is measured",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs", help="folder of the two files")
    parser.add_argument("--rows", type=int, default=0, help="rows of the part load; 1,000,000, or 20,000 with --quick")
    parser.add_argument("--sizes", type=int, nargs="+", help="entries, instead of 1,000, 10,000 and 100,000")
    parser.add_argument("--only", choices=PARTS, nargs="+", help="parts to run; all but growth without it")
    arguments = parser.parse_args()
    started, clock = datetime.now(UTC), time.perf_counter()
    measured: dict[str, list[Line]] = {}
    for name in arguments.only or [part for part in PARTS if part != "growth"]:
        for line in _guarded(name, PARTS[name], arguments):
            shown = "-" if line.value is None else f"{line.value:,.3f}"
            print(f"{line.name}: {shown} {line.unit} {line.goal} {line.note}", flush=True)
            measured.setdefault(name, []).append(line)
        run = report.Run(report.command(), arguments.module, started, time.perf_counter() - clock)
        report.write(arguments.out, measured, run)  # after each part: a run that is interrupted keeps what it has
    print(f"written to {arguments.out} after {run.seconds:.0f} s")
    return 0


def _guarded(
    name: str, part: Callable[[argparse.Namespace], Iterator[Line]], asked: argparse.Namespace
) -> Iterator[Line]:
    """Yield the lines of a part; one that breaks says so in a line and leaves the others alone."""
    try:
        yield from part(asked)
    except Exception as error:  # noqa: BLE001 - a part that breaks must not cost the other parts their figures
        text = str(error).strip().splitlines()
        yield not_measured(name, f"{type(error).__name__}: {text[0] if text else ''}", "to be measured")


def _sizes(asked: argparse.Namespace) -> tuple[int, ...]:
    return tuple(asked.sizes or ((1_000,) if asked.quick else (1_000, 10_000, 100_000)))


def _lookups(asked: argparse.Namespace) -> Iterator[Line]:
    return lookups.lines(asked.module, _sizes(asked), 1_000 if asked.quick else 2_000)


def _seed(asked: argparse.Namespace) -> Iterator[Line]:
    return seed.lines(asked.module, _sizes(asked), 300 if asked.quick else 1_500)


def _concurrency(asked: argparse.Namespace) -> Iterator[Line]:
    sizes = _sizes(asked)
    size = 10_000 if 10_000 in sizes else max(sizes)
    calls, rounds, filled = (1_000, 2, 5_000) if asked.quick else (2_000, 3, 10_000)
    amounts = concurrency.Amounts(size=size, sizes=sizes, calls=calls, rounds=rounds, fills=filled)
    return concurrency.lines(asked.module, amounts)


def _fills(asked: argparse.Namespace) -> Iterator[Line]:
    quick = fills.Amounts(calls=500, rows=500, rounds=2, provided=2_000, steady_seconds=3.0)
    return fills.lines(asked.module, quick if asked.quick else fills.Amounts())


def _embedding(asked: argparse.Namespace) -> Iterator[Line]:
    return embedding.lines(1 if asked.quick else 2)


def _load(asked: argparse.Namespace) -> Iterator[Line]:
    return load.lines(asked.rows or (20_000 if asked.quick else 1_000_000))


def _distance(asked: argparse.Namespace) -> Iterator[Line]:
    return distance.lines(2.0 if asked.quick else 5.0)


def _growth(asked: argparse.Namespace) -> Iterator[Line]:
    return growth.lines(asked.module, () if asked.quick else (1_000, 100_000, 1_000_000))


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Line]]] = {
    "lookups": _lookups,
    "seed": _seed,
    "concurrency": _concurrency,
    "embedding": _embedding,
    "fills": _fills,
    "load": _load,
    "distance": _distance,
    "growth": _growth,
}

if __name__ == "__main__":
    sys.exit(main())
