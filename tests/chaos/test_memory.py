"""How much memory a worker takes: bounded by what its batches hold, whatever lies in the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nearhit import FillOutcome

if TYPE_CHECKING:
    from tests.chaos.stack import Stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

ANSWERS = 120
ANSWER_BYTES = 7_800_000
MOST_MIB = 400
"""Above what the worker takes before. Measured: 240; 2,800 in all where batches were bounded by count alone."""


def peak_mib(pid: int) -> int:
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no such resource: the peak of a process")
def test_a_worker_that_meets_a_hundred_and_twenty_large_answers_stays_small(stack: Stack) -> None:
    with stack.client(enqueue_deadline_ms=10_000, spool_max_fills=0) as cache:
        for number in range(ANSWERS):
            answer = f"{number} ".ljust(ANSWER_BYTES, "x")
            assert cache.fill(f"question {number}", answer, ttl_seconds=600) is FillOutcome.ACCEPTED
    worker = stack.add_worker()
    assert worker.child is not None
    before = peak_mib(worker.child.process.pid)
    stack.wait_until_stored(120)
    with stack.cache_server.client() as client:
        names = list(client.scan_iter(f"nearhit:{stack.namespace}:*:e:*", count=1000))
        assert len(names) == ANSWERS
        assert all(client.hstrlen(name, "response_large") > ANSWER_BYTES for name in names)
    grown = peak_mib(worker.child.process.pid) - before
    assert grown < MOST_MIB, f"{grown} MiB above {before}"
