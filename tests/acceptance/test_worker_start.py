"""How a worker starts: what it does before its broker answers, and what it says where its settings cannot work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from nearhit_worker.stack import ValkeyServer, Worker, free_port, wait_until

from nearhit import SemanticCache, Settings
from nearhit.write.wakeup import TASK_FILL, queue_name
from tests.chaos.stack import metric

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.timeout(120)

PLAIN = {"NEARHIT_THRESHOLD": "0.8", "NEARHIT_MODEL": "hash/64", "NEARHIT_GUARD": "0", "NEARHIT_METRICS_PORT": "0"}


FIRST = {
    "first process": ("unshare", "--pid", "--fork", "--kill-child"),
    "ignoring": ("sh", "-c", 'trap \'\' TERM; exec "$0" "$@"'),
}
"""Surroundings in which SIGTERM does nothing by default: a container's first process, and what inherits that."""


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **PLAIN, **changes, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - the checkout, as for pytest


def ended(changes: Mapping[str, str]) -> tuple[int, str]:
    """Return with which code a worker ended, and all that it said."""
    command = [sys.executable, "-m", "nearhit_worker"]
    env = environment(changes)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def health(worker: Worker) -> tuple[int, str]:
    """Return what a worker says of its health, and how."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.metrics_port}/health", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def handles_sigterm(pid: int) -> bool:
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return bool(int(lines["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


def python_of(process: subprocess.Popen[bytes], around: str) -> int:
    """Return the process id of the worker itself."""
    if around == "ignoring":
        return process.pid
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: bool(children.read_text().split()), 10, "the process namespace has its first process")
    return int(children.read_text().split()[0])


def test_a_worker_takes_tasks_from_a_broker_whose_url_is_that_of_a_server(
    plain_server: ValkeyServer, namespace: str, tmp_path: Path
) -> None:
    places = {"NEARHIT_URL": plain_server.url, "NEARHIT_NAMESPACE": namespace, "NEARHIT_POLL_SECONDS": "3600"}
    assert plain_server.url.startswith("valkey://")
    with Worker(tmp_path, {**PLAIN, **places, "NEARHIT_BROKER_URL": plain_server.url}):
        app = Celery("somebody", broker=plain_server.url.replace("valkey://", "redis://"), set_as_current=False)
        row = {"prompt": "a task", "answer": "an answer"}
        app.send_task(TASK_FILL, args=(row,), queue=queue_name(namespace, "interactive"))
        keys = f"nearhit:{namespace}:*:e:*"
        with plain_server.client() as client:
            wait_until(lambda: bool(list(client.scan_iter(keys, count=1000))), 30, "the task was run")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ampq://h", "broker_url: Celery cannot use it: No such transport: ampq.  Did you mean amqp"),
        ("valkey+cluster://h", "broker_url: a cluster cannot be Celery's broker"),
    ],
)
def test_a_broker_that_celery_cannot_use_is_one_line(plain_server: ValkeyServer, url: str, says: str) -> None:
    code, said = ended({"NEARHIT_URL": plain_server.url, "NEARHIT_BROKER_URL": url})
    assert (code, len(said.splitlines())) == (2, 1)
    assert says in said


@pytest.mark.parametrize("after_seconds", [0.0, 0.4, 0.8, 1.5, 2.5, 5.0])
@pytest.mark.parametrize(
    ("around", "words"), [("first process", ("nearhit_worker",)), ("ignoring", ("nearhit", "worker"))]
)
def test_a_worker_that_is_told_to_stop_while_it_starts_ends_at_once(
    plain_server: ValkeyServer, namespace: str, around: str, words: tuple[str, ...], after_seconds: float
) -> None:
    if subprocess.run((*FIRST[around], "true"), capture_output=True, check=False).returncode:
        pytest.skip("no such resource: a process namespace of one's own")
    env = environment({"NEARHIT_URL": plain_server.url, "NEARHIT_NAMESPACE": namespace})
    with subprocess.Popen(
        (*FIRST[around], sys.executable, "-m", *words), env=env, stdout=subprocess.DEVNULL
    ) as process:
        try:
            pid = python_of(process, around)
            wait_until(lambda: handles_sigterm(pid), 20, "the signal is handled")
            assert after_seconds or "hiredis" not in Path(f"/proc/{pid}/maps").read_text(), "the imports came first"
            threading.Event().wait(after_seconds)  # the moment itself is under test
            os.kill(pid, signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("pool", [(), ("--pool", "prefork")], ids=["threads", "prefork"])
def test_a_worker_whose_broker_is_away_works_by_its_timers_and_can_be_seen(
    plain_server: ValkeyServer, namespace: str, tmp_path: Path, pool: tuple[str, ...]
) -> None:
    places = {"NEARHIT_URL": plain_server.url, "NEARHIT_NAMESPACE": namespace}
    away = {"NEARHIT_BROKER_URL": f"valkey://127.0.0.1:{free_port()}"}
    with Worker(tmp_path, {**PLAIN, **places, **away}, pool) as worker:
        with SemanticCache(Settings.from_env({**PLAIN, **places})) as cache:
            assert cache.warm_up()
            cache.fill("a question", "an answer")
            wait_until(lambda: bool(cache.lookup("a question")), 20, "the fill is stored")
        assert metric(worker, "nearhit_worker_ready") == 1
        assert worker.child is not None
        log = worker.child.log_path.read_text()
        assert "Cannot connect" in log
        address = f"http://127.0.0.1:{worker.metrics_port}/metrics"
        about = f"namespace {namespace}, engine auto, model hash/64, queues nearhit-{namespace}-*, {address}"
        assert f"ready: {about}\n" in log
        assert "[config]" not in log, "Celery's banner"
        worker.child.process.terminate()
        assert worker.child.process.wait(30) == 0


def test_a_worker_that_starts_before_its_servers_says_what_it_waits_for_and_then_works(tmp_path: Path) -> None:
    with ValkeyServer(tmp_path / "valkey") as server:
        server.stop()
        worker = Worker(tmp_path, {**PLAIN, "NEARHIT_URL": server.url})
        worker.spawn()
        with worker:
            wait_until(lambda: "ConnectionError" in health(worker)[1], 30, "it says what is away")
            code, said = health(worker)
            assert (code, '"live": true' in said) == (503, True)
            server.start()
            wait_until(worker.ready, 30, "it works")


def test_a_variable_that_is_no_setting_is_named_with_the_nearest_that_is(plain_server: ValkeyServer) -> None:
    typo = {"NEARHIT_METRIC_PORT": "9464", "NEARHIT_PORT": "tcp://10.0.0.1:9464", "NEARHIT_SERVICE_HOST": "10.0.0.1"}
    taken = {"NEARHIT_METRICS_PORT": str(plain_server.port)}
    code, said = ended({"NEARHIT_URL": plain_server.url, **taken, **typo})
    assert (code, len(said.splitlines())) == (2, 2)
    assert "WARNING nearhit there is no setting NEARHIT_METRIC_PORT: did you mean NEARHIT_METRICS_PORT?\n" in said


def test_a_log_of_json_has_nothing_else_in_it(plain_server: ValkeyServer, namespace: str, tmp_path: Path) -> None:
    places = {"NEARHIT_URL": plain_server.url, "NEARHIT_NAMESPACE": namespace, "NEARHIT_METRIC_PORT": "1"}
    said = {"NEARHIT_LOG_FORMAT": "JSON", "NEARHIT_BROKER_URL": f"valkey://127.0.0.1:{free_port()}"}
    with Worker(tmp_path, {**PLAIN, **places, **said}) as worker:
        assert worker.child is not None
        log = worker.child.log_path
        wait_until(lambda: "Cannot connect" in log.read_text(), 20, "Celery has tried")
    rows = [json.loads(line) for line in log.read_text().splitlines() if line and not line.startswith("worker: ")]
    assert {(row["level"], row["logger"]) for row in rows} >= {("info", "nearhit"), ("warning", "nearhit")}
    ready = next(row for row in rows if row["message"].startswith("ready: "))
    assert ready["action"] == "ready"
    assert datetime.fromisoformat(ready["time"]).tzinfo is not None


def test_the_level_of_a_log_leaves_out_what_is_below(
    plain_server: ValkeyServer, namespace: str, tmp_path: Path
) -> None:
    places = {"NEARHIT_URL": plain_server.url, "NEARHIT_NAMESPACE": namespace}
    with Worker(tmp_path, {**PLAIN, **places, "NEARHIT_LOG_LEVEL": "warning"}) as worker:
        assert worker.child is not None
        log = worker.child.log_path
    assert "ready: " not in log.read_text()


def test_a_port_that_is_taken_is_one_line(plain_server: ValkeyServer) -> None:
    code, said = ended({"NEARHIT_URL": plain_server.url, "NEARHIT_METRICS_PORT": str(plain_server.port)})
    assert (code, len(said.splitlines())) == (2, 1)
    assert f"127.0.0.1:{plain_server.port}: another program listens there; change" in said
    assert "NEARHIT_METRICS_PORT" in said


def test_settings_that_fail_after_they_are_read_leave_the_log_as_they_say(plain_server: ValkeyServer) -> None:
    code = "import logging; from nearhit_worker.program import main; main([]); logging.error('the last line')"
    taken = {"NEARHIT_METRICS_PORT": str(plain_server.port), "NEARHIT_LOG_FORMAT": "json"}
    env = environment({"NEARHIT_URL": plain_server.url, **taken})
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    lines = [line for line in done.stderr.splitlines() if "the last line" in line]
    assert [json.loads(line)["message"] for line in lines] == ["the last line"]
