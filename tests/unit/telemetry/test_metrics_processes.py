"""Metrics of several processes, and /metrics over HTTP."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.telemetry import TelemetryServer
from prometheus_client import CollectorRegistry

from nearhit.errors import ConfigError
from nearhit.telemetry.exposition import FOLDER_VARIABLE, clear, forget_ended
from nearhit.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOOK_UP = """
import os, sys
from nearhit.telemetry.metrics import Metrics
from nearhit.domain.outcome import Miss, MissReason
metrics = Metrics()
metrics.describe("client", model="hash/64", engine="auto", threshold=0.9)
"""

_ONE = (
    _LOOK_UP
    + """
metrics.count_lookup(Miss(reason=MissReason.EMPTY, stages={"total": 0.001}))
metrics.spooled.set(3)
"""
)

_PREFORK = (
    _LOOK_UP
    + """
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        for _ in range(10):
            metrics.count_lookup(Miss(reason=MissReason.EMPTY))
        metrics.spooled.set(5)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
print(metrics.expose()[1].decode())
"""
)

_SCRAPE = "from nearhit.telemetry.metrics import Metrics\nprint(Metrics().expose()[1].decode())"


def run(program: str, folder: Path) -> str:
    env = {**os.environ, FOLDER_VARIABLE: str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True)
    return done.stdout


def value(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


EMPTY = 'nearhit_lookups_total{namespace="default",outcome="empty",tier="none"}'
SPOOLED = 'nearhit_spool_fills{namespace="default"}'
THRESHOLD = 'nearhit_threshold{namespace="default"}'


def test_forked_children_are_added_up_and_their_gauges_end_with_them(tmp_path: Path) -> None:
    text = run(_PREFORK, tmp_path)
    assert value(text, EMPTY) == 30
    assert value(text, SPOOLED) == 0
    assert value(text, THRESHOLD) == 0.9


def test_one_shot_commands_are_counted_after_they_ended_and_leave_no_gauge(tmp_path: Path) -> None:
    for _ in range(4):
        run(_ONE, tmp_path)
    text = run(_SCRAPE, tmp_path)
    assert value(text, EMPTY) == 4
    assert value(text, 'nearhit_lookup_seconds_bucket{le="0.001",namespace="default",stage="total"}') == 4
    assert value(text, 'nearhit_lookup_seconds_count{namespace="default",stage="total"}') == 4
    assert value(text, SPOOLED) == 0


def test_files_of_ended_processes_are_folded_so_that_the_folder_stays_small(tmp_path: Path) -> None:
    for _ in range(5):
        run(_ONE, tmp_path)
    assert len(list(tmp_path.glob("counter_*.db"))) == 5
    forget_ended(tmp_path)
    assert [path.name for path in tmp_path.glob("counter_*.db")] == ["counter_ended.db"]
    assert list(tmp_path.glob("gauge_*.db")) == []
    run(_ONE, tmp_path)
    forget_ended(tmp_path)
    forget_ended(tmp_path)
    assert value(run(_SCRAPE, tmp_path), EMPTY) == 6


def test_a_restart_begins_with_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    clear(folder)
    run(_ONE, folder)
    clear(folder)
    assert value(run(_SCRAPE, folder), EMPTY) == 0


@pytest.fixture
def served() -> Iterator[TelemetryServer]:
    metrics = Metrics()
    state = {"live": True, "ready": False, "last_error": "the log's server does not answer"}
    server = TelemetryServer(metrics.registry, lambda: state, "127.0.0.1", 0)
    server.start()
    yield server
    server.stop()


def ask(port: int, path: str, method: str = "GET", accept: str = "") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Accept": accept})
    answer = connection.getresponse()
    got = answer.status, answer.headers["Content-Type"], answer.read()
    connection.close()
    return got


def test_metrics_come_with_the_memory_of_the_process(served: TelemetryServer) -> None:
    status, kind, body = ask(served.port, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"nearhit_lookups_total" in body
    assert sys.platform != "linux" or b"process_resident_memory_bytes" in body


def test_openmetrics_is_given_where_it_is_asked_for(served: TelemetryServer) -> None:
    _, kind, body = ask(served.port, "/metrics", accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.1")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_head_gives_headers_alone(served: TelemetryServer) -> None:
    assert ask(served.port, "/metrics", "HEAD")[::2] == (200, b"")


def test_live_and_ready_are_told_apart(served: TelemetryServer) -> None:
    assert ask(served.port, "/health/live")[0] == 200
    status, _, body = ask(served.port, "/health/ready")
    assert status == 503
    assert b"does not answer" in body


def test_an_unknown_path_says_what_there_is(served: TelemetryServer) -> None:
    assert ask(served.port, "/")[0] == 404


def test_many_scrapes_at_once_are_all_answered(served: TelemetryServer) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(served.port, "/metrics")[0], range(64)))
    assert answers == [200] * 64


def test_a_port_in_use_is_named(served: TelemetryServer) -> None:
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{served.port}: another program listens there"):
        TelemetryServer(CollectorRegistry(), dict, "127.0.0.1", served.port)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:0: this machine has no such address"):
        TelemetryServer(CollectorRegistry(), dict, "192.0.2.1", 0)


def test_the_port_is_free_again_after_stop() -> None:
    first = TelemetryServer(CollectorRegistry(), dict, "127.0.0.1", 0)
    first.start()
    first.stop()
    second = TelemetryServer(CollectorRegistry(), dict, "127.0.0.1", first.port)
    second.stop()
