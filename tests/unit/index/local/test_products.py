"""Products in pieces: the same numbers, and no work for the threads of a BLAS library."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nearhit.domain.vectors import unit_rows
from nearhit.index.local import products
from nearhit.index.local.codes import BITS, Codes

THREADS = {**os.environ, "OPENBLAS_NUM_THREADS": "8", "OMP_NUM_THREADS": "8"}

HELPERS = """
import os, time
import numpy as np
from nearhit.index.local.codes import Codes
from nearhit.index.local.matrix import Matrix
from nearhit.domain.vectors import unit_rows

def helpers():
    ticks = 0
    for thread in os.listdir("/proc/self/task"):
        if int(thread) != os.getpid():
            words = open(f"/proc/self/task/{thread}/stat").read().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
    return ticks

def settled():
    before = -1
    while before != (before := helpers()):
        time.sleep(0.2)
    return before

def work():
    codes = Codes(384)
    rows = unit_rows(np.random.default_rng(1).standard_normal((3000, 384)))
    matrix = Matrix(codes)
    matrix.put([(b"s", b"%d" % number, 2) for number in range(3000)], rows)
    for row in rows[:200]:
        matrix.nearest(b"s", row, 4, 1)

before = settled()
work()
print(len(os.listdir("/proc/self/task")), settled() - before)
"""

OPENING = """
import resource
import numpy
from nearhit.index.local.codes import Codes
before = resource.getrusage(resource.RUSAGE_SELF)
codes = Codes(384)
codes.encode(numpy.eye(384, dtype=numpy.float32))
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
"""


def output(program: str) -> str:
    words = [sys.executable, "-c", program]
    return subprocess.run(words, capture_output=True, text=True, timeout=100, env=THREADS, check=True).stdout


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="no such resource: a second core")
def test_loading_and_searching_give_no_work_to_threads_of_the_blas_library() -> None:
    threads, ticks = output(HELPERS).split()
    assert int(threads) > 1  # there are threads that could work
    assert int(ticks) == 0


def test_twelve_processes_that_open_a_replica_at_once_each_take_little_more_than_one_alone() -> None:
    alone = float(output(OPENING))
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda _: float(output(OPENING)), range(12)))
    assert max(together) < 4 * alone + 0.2, (alone, together)


@pytest.mark.parametrize("dimension", [1, 2, 7, 64, 384, 1000, 1536, 9300])
@pytest.mark.parametrize("count", [1, 2, 41, 100])
def test_pieces_give_what_the_whole_product_gives(dimension: int, count: int) -> None:
    generator = np.random.default_rng(dimension)
    vector = generator.standard_normal(dimension).astype(np.float32)
    rows = generator.standard_normal((products.padded(count, dimension), dimension)).astype(np.float32)
    exact = rows.astype(np.float64) @ vector
    assert products.with_vector(rows, vector)[:count] == pytest.approx(exact[:count], abs=1e-3)
    planes = generator.standard_normal((BITS, dimension)).astype(np.float32)
    sides = rows[:count].astype(np.float64) @ planes.astype(np.float64).T
    clear = np.abs(sides) > 1e-3
    assert np.array_equal(products.signs(rows[:count], planes)[clear], (sides > 0)[clear])


def sparse(generator: np.random.Generator, dimension: int) -> np.ndarray:
    """Return unit rows of which most coordinates are 0, as a hash embedder gives: they show a preferred direction."""
    rows = np.zeros((3000, dimension))
    for row in rows:
        row[generator.choice(dimension, 3, replace=False)] = generator.choice([-1.0, 1.0], 3)
    return unit_rows(rows)


@pytest.mark.parametrize("dimension", [48, 384, 768])
def test_rows_of_few_coordinates_keep_the_limit_as_any_do(dimension: int) -> None:
    generator = np.random.default_rng(dimension)
    codes = Codes(dimension)
    base = sparse(generator, dimension)
    for weight in (0.1, 0.5, 1.0, 2.0):
        near = unit_rows(base + weight * sparse(generator, dimension))
        similarities = np.einsum("ij,ij->i", base, near)
        apart = np.bitwise_count(codes.bits(base) ^ codes.bits(near)).sum(axis=1, dtype=np.int64)
        limits = np.array([codes.limit(one) for one in similarities.tolist()])
        assert (apart <= limits).all()
        expected = BITS * np.arccos(np.clip(similarities, -1.0, 1.0)) / np.pi
        assert (apart - expected).mean() == pytest.approx(0.0, abs=1.5)
        assert (apart - expected).std() < 0.5 * np.sqrt(BITS)  # a binomial spread at most


@pytest.mark.parametrize("dimension", [1, 2, 3, 100, 384, 1024])
def test_the_planes_are_orthogonal_within_each_group_and_the_same_in_every_process(dimension: int) -> None:
    started = time.process_time()
    planes = Codes(dimension).planes
    assert time.process_time() - started < 3.0
    assert planes.shape == (BITS, dimension)
    group = planes[:dimension].astype(np.float64)
    assert np.abs(group @ group.T - np.eye(len(group))).max() < 1e-4
    assert np.array_equal(planes, Codes(dimension).planes)
