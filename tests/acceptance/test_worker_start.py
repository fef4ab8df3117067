"""How a worker starts: what it does before its broker answers, and what it says where its settings cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from nearhit_worker.stack import Worker, wait_until

from nearhit.write.wakeup import TASK_FILL, queue_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nearhit_worker.stack import ValkeyServer

pytestmark = pytest.mark.timeout(120)

PLAIN = {"NEARHIT_THRESHOLD": "0.8", "NEARHIT_MODEL": "hash/64", "NEARHIT_GUARD": "0", "NEARHIT_METRICS_PORT": "0"}


def ended(changes: Mapping[str, str]) -> tuple[int, str]:
    """Return with which code a worker ended, and all that it said."""
    env = {**os.environ, **PLAIN, **changes, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - the checkout, as for pytest
    command = [sys.executable, "-m", "nearhit_worker"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


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
