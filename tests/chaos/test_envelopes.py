"""Celery messages in which anything may be wrong: none ends a worker, and none vanishes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import amqp
import pytest
from nearhit_worker.stack import Worker

from nearhit.write.wakeup import TASK_FILL, queue_name
from tests.chaos.field import Field, wait_for
from tests.chaos.rabbit import RabbitServer, rabbitmq_program
from tests.chaos.test_processes import plain_client, send, stored
from tests.support.envelopes import amqp_properties, body_of, message, valkey_value

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

MESSAGES = 20_000
SEED = 11
QUEUE = queue_name("chaos", "interactive")


def count_of_dead(ground: Field) -> int:
    with ground.log_server.client() as client:
        return int(client.xlen(f"nearhit:{{{ground.namespace}}}:dead"))


def check_all_are_somewhere(ground: Field, taken: Callable[[], bool]) -> None:
    """Each message left an entry or a dead letter, and the workers go on."""
    wait_for(taken, 240, "the queue is empty and nothing waits to be acknowledged")
    ground.wait_until_stored(30)
    found = len(stored(ground))
    assert found > MESSAGES / 20
    assert found + count_of_dead(ground) == MESSAGES
    for worker in ground.workers:
        assert worker.child is not None
        assert worker.child.running
        assert "Traceback" not in worker.child.log_path.read_text(), worker.child.name


def test_no_envelope_on_valkey_ends_a_worker_or_vanishes(ground: Field) -> None:
    dice = random.Random(SEED)
    with ground.log_server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(MESSAGES):
            pipe.lpush(QUEUE, valkey_value(dice, number))
        pipe.execute()
    ground.add_worker()
    ground.add_worker("--pool", "prefork")

    def taken() -> bool:
        with ground.log_server.client() as client:
            return not client.exists(QUEUE, "unacked", "unacked_index")

    check_all_are_somewhere(ground, taken)
    send(plain_client(ground.log_server.url), TASK_FILL, ({"prompt": "after all", "answer": "an answer"},))
    wait_for(lambda: "after all" in stored(ground), 20, "a later fill is stored")


@pytest.mark.skipif(rabbitmq_program() is None, reason="no rabbitmq-server on this machine")
def test_no_message_on_rabbitmq_ends_a_worker_or_vanishes(ground: Field) -> None:
    with RabbitServer(ground.folder / "rabbit") as rabbit:
        for pool in ("threads", "prefork"):
            changes = {**ground.variables, "NEARHIT_BROKER_URL": rabbit.url}
            ground.workers.append(Worker(ground.folder / pool, changes, ("--pool", pool), name=pool))
            ground.workers[-1].start()
        with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection, connection.channel() as channel:
            publish_all(channel)

            def taken() -> bool:
                return bool(channel.queue_declare(QUEUE, passive=True).message_count == 0) and settled(ground)

            check_all_are_somewhere(ground, taken)
        send(plain_client(rabbit.url), TASK_FILL, ({"prompt": "after all", "answer": "an answer"},))
        wait_for(lambda: "after all" in stored(ground), 20, "a later fill is stored")


def publish_all(channel: Any) -> None:
    dice = random.Random(SEED)
    for number in range(MESSAGES):
        sent = message(dice, number)
        one = amqp.Message(body_of(sent, dice), **amqp_properties(sent, dice))
        channel.basic_publish(one, routing_key=QUEUE)


def settled(ground: Field) -> bool:
    """Whether no message is in work any more: RabbitMQ's protocol does not tell."""
    return len(stored(ground)) + count_of_dead(ground) >= MESSAGES
