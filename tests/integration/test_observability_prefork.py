"""A prefork worker reports what all its processes did, and forgets the gauges of those that ended."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import ValkeyServer, Worker, wait_until

from nearhit import SemanticCache
from nearhit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

FILLS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("prefork-server"), durable=True) as one:
        yield one


@pytest.fixture(scope="module")
def worker(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    settings = {
        "NEARHIT_URL": server.url,
        "NEARHIT_THRESHOLD": "0.8",
        "NEARHIT_MODEL": "hash/64",
        "NEARHIT_POLL_SECONDS": "0.5",
    }
    arguments = ("--pool", "prefork", "--concurrency", "2")
    with Worker(tmp_path_factory.mktemp("prefork"), settings, arguments) as one:
        yield one


def series(worker: Worker) -> dict[str, float]:
    with urllib.request.urlopen(worker.metrics_url, timeout=10) as answer:  # noqa: S310 - our own
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def stored(worker: Worker) -> float:
    return series(worker)['nearhit_upserts_total{lane="interactive",namespace="default",outcome="stored"}']


def children(worker: Worker) -> list[int]:
    assert worker.child is not None
    pid = worker.child.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def fill(server: ValkeyServer, start: int) -> None:
    settings = Settings.from_env({}, threshold=0.8, url=server.url, model="hash/64", guard=False)
    with SemanticCache(settings) as cache:
        cache.warm_up()
        for number in range(start, start + FILLS):
            cache.fill(f"question number {number}", "answer")


@pytest.mark.timeout(180)
def test_fills_of_all_processes_are_counted_and_stay_counted_when_one_is_killed(
    server: ValkeyServer, worker: Worker
) -> None:
    fill(server, 0)
    wait_until(lambda: stored(worker) == FILLS, 60, "all fills are counted")
    before = children(worker)
    assert before
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: before[0] not in children(worker), 30, "the killed child is gone")
    fill(server, FILLS)
    wait_until(lambda: stored(worker) == 2 * FILLS, 60, "fills of the new child are counted, too")
    found = series(worker)
    assert found['nearhit_worker_live{namespace="default"}'] == 1
    assert sum(one.startswith("nearhit_info{") for one in found) == 1
    depth = 'nearhit_log_depth{lane="interactive",namespace="default"}'
    wait_until(lambda: series(worker).get(depth) == 0, 30, "the log is seen, and seen empty")
