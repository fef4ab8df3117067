"""Incidents staged against live parts: the alert for each fires in a real Prometheus, and ends with the incident."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import free_port, wait_until

from tests.support import monitored_stack
from tests.support import observability as seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from nearhit_worker.stack import Worker

    from tests.support.monitored_stack import MonitoredStack

pytestmark = pytest.mark.timeout(300)

SETTINGS = {
    "NEARHIT_THRESHOLD": "0.7",
    "NEARHIT_MODEL": "hash/64",
    "NEARHIT_DEADLINE_MS": "2000",
    "NEARHIT_ENQUEUE_DEADLINE_MS": "200",
    "NEARHIT_SPOOL_MAX_FILLS": "50",
    "NEARHIT_TTL_SECONDS": "20",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredStack]:
    """Two workers and an application under load, with the local engine."""
    seen.program("prometheus")
    seen.program("redis_exporter", "prometheus-redis-exporter")
    with monitored_stack.stage(tmp_path_factory.mktemp("incidents"), "", SETTINGS) as one:
        wait_until(lambda: bool(one.prometheus.values("sum(nearhit_fills_total) > 50")), 60, "the application fills")
        yield one


@contextmanager
def worker_killed(stage: MonitoredStack) -> Iterator[None]:
    stage.workers[1].kill()
    try:
        yield
    finally:
        stage.workers[1].start()


@contextmanager
def worker_hangs(stage: MonitoredStack) -> Iterator[None]:
    child = stage.workers[1].child
    assert child is not None
    os.kill(child.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(child.process.pid, signal.SIGCONT)


@contextmanager
def restarted(workers: list[Worker], **changes: str) -> Iterator[None]:
    """Let workers run with other settings for a while; they may never be ready."""
    before = [worker.settings for worker in workers]
    for worker in workers:
        worker.stop()
        worker.settings = {**worker.settings, **changes}
        worker.spawn()
    try:
        yield
    finally:
        for worker, settings in zip(workers, before, strict=True):
            worker.stop()
            worker.settings = settings
            worker.start()


def worker_reaches_no_cache(stage: MonitoredStack) -> AbstractContextManager[None]:
    return restarted(stage.workers[1:], NEARHIT_URL=f"valkey://127.0.0.1:{free_port()}")


def worker_embeds_otherwise(stage: MonitoredStack) -> AbstractContextManager[None]:
    return restarted(stage.workers[1:], NEARHIT_MODEL="hash/32")


def workers_serve_another_namespace(stage: MonitoredStack) -> AbstractContextManager[None]:
    return restarted(stage.workers, NEARHIT_NAMESPACE="elsewhere")


@contextmanager
def workers_gone(stage: MonitoredStack) -> Iterator[None]:
    for worker in stage.workers:
        worker.kill()
    try:
        yield
    finally:
        for worker in stage.workers:
            worker.start()


@contextmanager
def cache_down(stage: MonitoredStack) -> Iterator[None]:
    stage.cache.stop()
    try:
        yield
    finally:
        stage.cache.start()


@contextmanager
def log_down(stage: MonitoredStack) -> Iterator[None]:
    stage.broker.stop()
    try:
        yield
    finally:
        stage.broker.start()


@contextmanager
def log_set(stage: MonitoredStack, name: str, value: str, back: str) -> Iterator[None]:
    with stage.broker.client() as client:
        client.config_set(name, value)
        try:
            yield
        finally:
            client.config_set(name, back)


def log_not_kept(stage: MonitoredStack) -> AbstractContextManager[None]:
    return log_set(stage, "appendonly", "no", "yes")


def log_nearly_full(stage: MonitoredStack) -> AbstractContextManager[None]:
    with stage.broker.client() as client:
        used = client.info("memory")["used_memory"]
    return log_set(stage, "maxmemory", str(int(used * 1.15)), "256mb")


INCIDENTS: list[tuple[Callable[[MonitoredStack], AbstractContextManager[None]], set[str], set[str]]] = [
    (worker_killed, {"WorkerDown"}, {"NoWorkers"}),
    (worker_hangs, {"WorkerDown"}, {"NoWorkers"}),
    (worker_reaches_no_cache, {"WorkerNotReady"}, {"NoWorkers", "WorkerDown", "ServerDown"}),
    (worker_embeds_otherwise, {"EmbeddersDiffer"}, {"WorkerNotReady"}),
    (workers_serve_another_namespace, {"NamespaceWithoutWorkers"}, {"NoWorkers", "WorkerNotReady"}),
    (workers_gone, {"NoWorkers", "WorkerDown", "NamespaceWithoutWorkers"}, {"ServerDown"}),
    (log_not_kept, {"LogServerDurability"}, {"ServerDown"}),
    (log_nearly_full, {"LogServerMemory"}, {"ServerDown"}),
    (log_down, {"ServerDown", "BreakerOpen", "FillsDropped", "WorkerNotReady"}, {"LookupsFail", "NoWorkers"}),
    (cache_down, {"ServerDown", "LookupsFail", "ReplicaLag", "FillsWaitForRetry", "WriteLag"}, {"NoWorkers"}),
]
"""What happens; which alerts fire while it lasts and end after it; which stay silent."""

WINDOWS = {"FillsDropped", "LookupsFail"}
"""Alerts that look at the last minutes, and so outlast their incident."""


@pytest.mark.parametrize(("incident", "told", "silent"), INCIDENTS, ids=lambda one: getattr(one, "__name__", ""))
def test_an_incident_is_told_while_it_lasts(
    stage: MonitoredStack,
    incident: Callable[[MonitoredStack], AbstractContextManager[None]],
    told: set[str],
    silent: set[str],
) -> None:
    def firing() -> set[str]:
        rows = stage.prometheus.ask("query", query='ALERTS{alertstate="firing"}')["result"]
        return {row["metric"]["alertname"].removeprefix("Nearhit") for row in rows}

    wait_until(lambda: not firing() & (told | silent), 60, "all is well")
    with incident(stage):
        wait_until(lambda: firing() & (told | silent) == told, 90, f"{told} fire, and none of {silent}")
    wait_until(lambda: not firing() & (told - WINDOWS), 90, f"{told} are over")
