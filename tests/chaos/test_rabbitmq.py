"""RabbitMQ as the Celery broker; the log stays on Valkey."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import Worker

from nearhit.write.wakeup import TASK_FILL
from tests.chaos.rabbit import RabbitServer, rabbitmq_program
from tests.chaos.stack import metric, wait_for
from tests.chaos.test_processes import plain_client, send, stored

if TYPE_CHECKING:
    from tests.chaos.stack import Stack

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(180),
    pytest.mark.skipif(rabbitmq_program() is None, reason="no rabbitmq-server on this machine"),
]


def test_rabbitmq_carries_wake_ups_and_tasks_and_may_be_killed(stack: Stack) -> None:
    with RabbitServer(stack.folder / "rabbit") as rabbit:
        # so slow a timer that what is stored soon was stored for a wake-up
        changes = {**stack.variables, "NEARHIT_BROKER_URL": rabbit.url, "NEARHIT_POLL_SECONDS": "3"}
        worker = Worker(stack.folder / "worker", changes, name="worker")
        stack.workers.append(worker)
        worker.start()
        app = plain_client(rabbit.url)
        with stack.client(broker_url=rabbit.url) as cache:
            cache.fill("warm", "an answer")
            wait_for(lambda: "warm" in stored(stack), 20, "the path is warm")
            lags = []
            for number in range(10):
                started = time.monotonic()
                cache.fill(f"question {number}", "an answer")
                wait_for(lambda n=number: f"question {n}" in stored(stack), 20, "the fill is stored")
                lags.append(time.monotonic() - started)
            assert sorted(lags)[5] < 1.0
            send(app, TASK_FILL, ({"prompt": "a task", "answer": "an answer"},))
            wait_for(lambda: "a task" in stored(stack), 20, "the task is run")
            rabbit.kill()
            cache.fill("while it is down", "an answer")  # the log has it, and the worker's timer finds it
            wait_for(lambda: "while it is down" in stored(stack), 20, "the fill of the outage is stored")
            rabbit.start()
            send(plain_client(rabbit.url), TASK_FILL, ({"prompt": "after", "answer": "an answer"},))
            wait_for(lambda: "after" in stored(stack), 40, "the worker is connected again")
        assert worker.child is not None
        assert worker.child.running
        assert metric(worker, "nearhit_dead_letters_total") == 0
