"""Celery messages in which anything may be wrong: none ends a worker, and none vanishes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from nearhit_worker.stack import Worker

from nearhit.write.wakeup import TASK_FILL, queue_name
from tests.chaos.rabbit import RabbitServer, rabbitmq_program
from tests.chaos.stack import Stack, wait_for
from tests.chaos.test_processes import plain_client, send, stored
from tests.support.envelopes import amqp_properties, body_of, message, valkey_value

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

MESSAGES = 20_000
SEED = 11
QUEUE = queue_name("chaos", "interactive")


def count_of_others(stack: Stack) -> int:
    """Return how many messages are dead letters, or were counted as expired in the log."""
    start = f"nearhit:{{{stack.namespace}}}"
    with stack.log_server.client() as client:
        return int(client.xlen(f"{start}:dead")) + int(client.get(f"{start}:expired") or 0)


def check_all_are_somewhere(stack: Stack, taken: Callable[[], bool]) -> None:
    """Each message left an entry or a dead letter or was counted as expired, and the workers go on."""
    wait_for(taken, 240, "the queue is empty and nothing waits to be acknowledged")
    stack.wait_until_stored(30)
    found = len(stored(stack))
    assert found > MESSAGES / 20
    assert found + count_of_others(stack) == MESSAGES
    for worker in stack.workers:
        assert worker.child is not None
        assert worker.child.running
        assert "Traceback" not in worker.child.log_path.read_text(), worker.child.name


def test_no_envelope_on_valkey_ends_a_worker_or_vanishes(stack: Stack) -> None:
    dice = random.Random(SEED)
    with stack.log_server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(MESSAGES):
            pipe.lpush(QUEUE, valkey_value(dice, number))
        pipe.execute()
    stack.add_worker()
    stack.add_worker("--pool", "prefork")

    def taken() -> bool:
        with stack.log_server.client() as client:
            return not client.exists(QUEUE, "unacked", "unacked_index")

    check_all_are_somewhere(stack, taken)
    send(plain_client(stack.log_server.url), TASK_FILL, ({"prompt": "after all", "answer": "an answer"},))
    wait_for(lambda: "after all" in stored(stack), 20, "a later fill is stored")


@pytest.mark.skipif(rabbitmq_program() is None, reason="no rabbitmq-server on this machine")
def test_no_message_on_rabbitmq_ends_a_worker_or_vanishes(stack: Stack) -> None:
    with RabbitServer(stack.folder / "rabbit") as rabbit:
        for pool in ("threads", "prefork"):
            changes = {**stack.variables, "NEARHIT_BROKER_URL": rabbit.url}
            stack.workers.append(Worker(stack.folder / pool, changes, ("--pool", pool), name=pool))
            stack.workers[-1].start()
        with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection, connection.channel() as channel:
            publish_all(channel)

            def taken() -> bool:
                return bool(channel.queue_declare(QUEUE, passive=True).message_count == 0) and settled(stack)

            check_all_are_somewhere(stack, taken)
        send(plain_client(rabbit.url), TASK_FILL, ({"prompt": "after all", "answer": "an answer"},))
        wait_for(lambda: "after all" in stored(stack), 20, "a later fill is stored")


def publish_all(channel: Any) -> None:
    dice = random.Random(SEED)
    for number in range(MESSAGES):
        sent = message(dice, number)
        one = amqp.Message(body_of(sent, dice), **amqp_properties(sent, dice))
        channel.basic_publish(one, routing_key=QUEUE)


def settled(stack: Stack) -> bool:
    """Whether no message is in work any more: RabbitMQ's protocol does not tell."""
    return len(stored(stack)) + count_of_others(stack) >= MESSAGES
