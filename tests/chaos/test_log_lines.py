"""What a worker's log says while a part is away: once, and then once a minute how often."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from tests.chaos.stack import metric

if TYPE_CHECKING:
    from tests.chaos.stack import Stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

MOST = 8
"""Records of Celery's and ours in each process; there were hundreds in a minute."""


@pytest.mark.parametrize("pool", [(), ("--pool", "prefork")], ids=["threads", "prefork"])
@pytest.mark.parametrize("how", ["refuses", "hangs"])
def test_a_log_server_that_is_away_is_said_once(stack: Stack, pool: tuple[str, ...], how: str) -> None:
    worker = stack.add_worker(*pool)
    with stack.client() as cache:
        cache.fill("a question", "an answer")
        stack.wait_until_stored()
    assert worker.child is not None
    path = worker.child.log_path
    before = path.read_text()
    child = stack.log_server.child
    assert child is not None
    if how == "hangs":
        child.process.send_signal(signal.SIGSTOP)
    else:
        with stack.log_server.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        wait_until(lambda: metric(worker, "nearhit_errors_total") >= 40, 90, "the log's server was tried often")
    finally:
        child.process.send_signal(signal.SIGCONT)
    lines = [line for line in path.read_text()[len(before) :].splitlines() if re.match(r"\d{4}-\d\d-\d\d ", line)]
    processes = 3 if pool else 1  # the parent and its two children
    assert len(lines) <= MOST * processes, lines
    ours = [line for line in lines if re.search(r"WARNING nearhit log: \w+ failed", line)]
    assert 1 <= len(ours) <= processes, ours
