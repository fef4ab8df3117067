"""Processes that are killed, stopped or cut off at a chosen moment: what a worker and its settings must bear."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from nearhit_worker.stack import Child, ValkeyServer, Worker, wait_until

from nearhit import FillOutcome
from nearhit.admin.invalidate import TASK_INVALIDATE
from nearhit.write.wakeup import TASK_FILL, TASK_FILL_MANY, queue_name
from tests.chaos.stack import CLAIM_IDLE_MS, Stack, children_of, end, wait_for
from tests.support.embedding_server import EmbeddingServer, reply_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

VISIBILITY_SECONDS = 3
POOLS = {"threads": (), "prefork": ("--pool", "prefork")}


class QuickWorker(Worker):
    """A worker whose Celery messages are delivered again after 3 s instead of a minute."""

    def spawn(self) -> None:
        """Start it without waiting."""
        super().spawn()
        assert self.child is not None
        self.child.kill()
        code = (
            f"import sys, nearhit_worker.app as app; app.VISIBILITY_SECONDS = {VISIBILITY_SECONDS}; "
            "from nearhit_worker.program import main; sys.exit(main(sys.argv[1:]))"
        )
        env = {**os.environ, **self.settings, "NEARHIT_METRICS_PORT": str(self.metrics_port)}
        env["PYTHONPATH"] = os.getcwd()  # noqa: PTH109 - the checkout, as for pytest
        self.child = Child(self.name, [sys.executable, "-c", code, *self.arguments], self.folder, env)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Celery broker that is not the log's server."""
    with ValkeyServer(tmp_path / "broker", durable=True) as one:
        yield one


def plain_client(url: str) -> Celery:
    """Return a Celery client that knows nothing of Nearhit but two names."""
    return Celery("somebody", broker=url.replace("valkey://", "redis://"), set_as_current=False)


def send(app: Celery, task: str, args: tuple[Any, ...]) -> None:
    app.send_task(task, args=args, queue=queue_name("chaos", "interactive"), retry=True)


def stored(stack: Stack) -> dict[str, str]:
    return {row[b"prompt"].decode(): row[b"response"].decode() for row in stack.entries().values()}


def stop(server: ValkeyServer, number: int) -> None:
    assert server.child is not None
    os.kill(server.child.process.pid, number)


@pytest.mark.parametrize("pool", POOLS)
def test_a_restarted_broker_neither_kills_nor_stalls_a_worker(stack: Stack, pool: str) -> None:
    worker = stack.add_worker(*POOLS[pool])
    app = plain_client(stack.log_server.url)
    with stack.client() as cache:
        for number in range(3):
            stack.log_server.kill()
            time.sleep(0.5)
            stack.log_server.start()
            assert worker.child is not None
            assert worker.child.running
            cache.fill(f"question {number}", "an answer")
            send(app, TASK_FILL, ({"prompt": f"task {number}", "answer": "an answer"},))
            wait_for(lambda n=number: f"question {n}" in stored(stack), 20, "the fill after a restart is stored")
            wait_for(lambda n=number: f"task {n}" in stored(stack), 30, "the task after a restart is run")
        wait_for(worker.ready, 10, "the worker is ready")
    assert worker.child is not None
    assert worker.child.running


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_outlives_a_broker_that_refuses_everything(stack: Stack, pool: str) -> None:
    worker = stack.add_worker(*POOLS[pool])
    with stack.client() as cache, stack.log_server.client() as client:
        assert cache.warm_up()
        cache.fill("first", "an answer")
        wait_for(lambda: "first" in stored(stack), 20, "the path is warm")
        client.execute_command("REPLICAOF", "127.0.0.1", "1")  # no command that writes is taken, as with a full disk
        assert cache.fill("second", "an answer") is FillOutcome.SPOOLED
        time.sleep(3)
        assert worker.child is not None
        worker.child.check()
        client.execute_command("REPLICAOF", "NO", "ONE")
        wait_for(lambda: "second" in stored(stack), 20, "the fill is stored when the server takes it")
        send(plain_client(stack.log_server.url), TASK_FILL, ({"prompt": "third", "answer": "an answer"},))
        wait_for(lambda: "third" in stored(stack), 30, "a task is run again")
        wait_until(worker.ready, 20, "the worker is ready again")


def test_a_worker_waits_for_a_broker_that_is_not_there_yet(stack: Stack) -> None:
    stack.log_server.stop()
    worker = Worker(stack.folder / "early", stack.variables, name="early")
    stack.workers.append(worker)
    worker.spawn()
    assert worker.child is not None
    wait_until(lambda: "Cannot connect" in worker.child.log_path.read_text(), 30, "the worker has tried")  # type: ignore[union-attr]
    stack.log_server.start()
    wait_until(worker.ready, 30, "the early worker is ready")
    with stack.client() as cache:
        cache.fill("a question", "an answer")
        wait_for(lambda: "a question" in stored(stack), 20, "the fill is stored")


@pytest.mark.parametrize("pool", POOLS)
def test_fills_of_a_killed_worker_are_stored_by_another_in_bounded_time(stack: Stack, pool: str) -> None:
    worker = stack.add_worker(*POOLS[pool])
    with stack.client() as cache:
        assert cache.warm_up()
        cache.fill("first", "an answer")
        wait_for(lambda: "first" in stored(stack), 20, "the path is warm")
        stop(stack.cache_server, signal.SIGSTOP)
        for number in range(10):
            cache.fill(f"question {number}", "an answer")
        log = f"nearhit:{{{stack.namespace}}}:log:interactive"
        with stack.log_server.client() as client:
            wait_for(lambda: client.xpending(log, "nearhit")["pending"] == 10, 10, "the worker has them in work")
        for pid in children_of(worker):
            end(pid)
        worker.kill()
        killed = time.monotonic()
        stop(stack.cache_server, signal.SIGCONT)
        stack.add_worker()
        wait_for(lambda: len(stored(stack)) == 11, 30, "another worker stores them")
        assert time.monotonic() - killed < CLAIM_IDLE_MS / 1000 + 10  # the start of the other worker is in it


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_of_a_killed_worker_is_delivered_again(stack: Stack, broker: ValkeyServer, pool: str) -> None:
    changes = {**stack.variables, "NEARHIT_BROKER_URL": broker.url.replace("valkey://", "redis://")}
    worker = QuickWorker(stack.folder / "victim", changes, POOLS[pool], name="victim")
    stack.workers.append(worker)
    worker.start()
    app = plain_client(broker.url)
    stop(stack.log_server, signal.SIGSTOP)  # the task hangs in its one step
    send(app, TASK_FILL, ({"prompt": "a task", "answer": "an answer"},))
    with broker.client() as client:
        wait_for(lambda: client.hlen("unacked") == 1, 10, "the worker has the task")
        time.sleep(0.5)
        if pool == "prefork":
            for pid in children_of(worker):
                end(pid)
        else:
            worker.kill()
    stop(stack.log_server, signal.SIGCONT)
    if pool == "threads":
        worker.spawn()
    wait_for(lambda: "a task" in stored(stack), 40, "the task is delivered again")


@pytest.mark.parametrize("pool", POOLS)
def test_a_broker_that_is_away_when_a_task_ends_does_not_deafen_its_worker(
    stack: Stack, broker: ValkeyServer, pool: str
) -> None:
    worker = stack.add_worker(*POOLS[pool], broker_url=broker.url, concurrency=1, poll_seconds=3600)
    app = plain_client(broker.url)
    send(app, TASK_FILL, ({"prompt": "first", "answer": "an answer"},))
    wait_for(lambda: "first" in stored(stack), 20, "the path is warm")
    stop(stack.log_server, signal.SIGSTOP)  # the task hangs in its one step
    send(app, TASK_FILL, ({"prompt": "second", "answer": "an answer"},))
    with broker.client() as client:
        wait_for(lambda: client.hlen("unacked") == 1, 10, "the worker has the task")
    broker.kill()
    stop(stack.log_server, signal.SIGCONT)
    assert worker.child is not None
    log = worker.child.log_path
    wait_until(lambda: "Couldn't ack" in log.read_text(), 20, "the task has ended")
    broker.start()
    send(app, TASK_FILL, ({"prompt": "third", "answer": "an answer"},))
    wait_for(lambda: "third" in stored(stack), 30, "a task is run again")


def test_the_names_of_two_tasks_are_all_that_a_celery_client_needs(stack: Stack) -> None:
    stack.add_worker()
    app = plain_client(stack.log_server.url)
    row = {"prompt": "one", "answer": {"choices": [1]}, "scope": {"tenant": "t"}, "ttl_seconds": 600, "lane": "bulk"}
    now = time.time()
    send(app, TASK_FILL, (row,))
    send(app, TASK_FILL, (row,))
    send(
        app, TASK_FILL_MANY, ([{"prompt": f"many {n}", "answer": "a"} for n in range(50)] + [{"prompt": "no answer"}],)
    )
    send(app, TASK_FILL, ({"prompt": "ordered", "answer": "newer", "created_seconds": now},))
    wait_for(lambda: "ordered" in stored(stack), 20, "the newer one is stored")
    send(app, TASK_FILL, ({"prompt": "ordered", "answer": "older, and late", "created_seconds": now - 60},))
    send(app, TASK_FILL, ({"prompt": "last", "answer": "a"},))
    wait_for(lambda: len(stored(stack)) == 53, 20, "all are stored")
    stack.wait_until_stored(10)
    assert stored(stack)["ordered"] == '"newer"'
    assert [row[b"reason"] for row in stack.dead()] == [b"bad_row"]
    send(app, TASK_FILL_MANY, (5,))
    send(app, TASK_INVALIDATE, ({"by": "scope", "scope": "no digest"},))
    wait_for(lambda: len(stack.dead()) == 3, 20, "what no trying again can mend is a dead letter")
    assert {row[b"reason"] for row in stack.dead()[1:]} == {b"bad_row", b"refused_message"}


def test_a_pickled_message_is_refused_and_the_worker_lives(stack: Stack, tmp_path: Path) -> None:
    worker = stack.add_worker()
    trap = tmp_path / "trap"
    app = plain_client(stack.log_server.url)

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {trap}",)

    with app.connection_for_write() as connection, connection.SimpleQueue(queue_name("chaos", "interactive")) as queue:
        headers = {"task": TASK_FILL, "id": "1", "lang": "py", "argsrepr": "", "kwargsrepr": ""}
        body = pickle.dumps(((Trap(),), {}, {}))
        queue.producer.publish(
            body,
            routing_key=queue_name("chaos", "interactive"),
            headers=headers,
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )
        queue.producer.publish(
            b"the private question",
            routing_key=queue_name("chaos", "interactive"),
            headers={"task": "nobody.knows"},
            content_type="application/json",
            content_encoding="utf-8",
        )
    wait_for(lambda: len(stack.dead()) == 2, 20, "both are dead letters")
    assert {row[b"reason"] for row in stack.dead()} == {b"refused_message"}
    with stack.client() as cache:
        cache.fill("a question", "an answer")
        wait_for(lambda: "a question" in stored(stack), 20, "the worker works on")
    assert not trap.exists()
    assert worker.child is not None
    assert "private" not in worker.child.log_path.read_text()


def test_a_worker_that_is_told_to_stop_finishes_its_batch_and_no_more(stack: Stack) -> None:
    def slowly(asked: dict[str, Any]) -> Any:
        time.sleep(1.0)
        return reply_to(asked)

    with EmbeddingServer() as endpoint:
        extra = {"OPENAI_API_KEY": "sk-secret", "OPENAI_API_BASE": endpoint.url, "OPENAI_BASE_URL": endpoint.url}
        changes = {**stack.variables, **extra, "NEARHIT_MODEL": "openai/stub", "NEARHIT_BATCH_MAX_FILLS": "4"}
        worker = Worker(stack.folder / "slow", changes, name="slow")
        stack.workers.append(worker)
        worker.start()
        with stack.client() as cache:
            cache.fill("first", "an answer")
            wait_for(lambda: "first" in stored(stack), 40, "the path is warm")
            endpoint.behave = slowly
            for number in range(100):
                cache.fill(f"question {number}", "an answer")
            wait_until(lambda: any("question 0" in one["input"] for one in endpoint.requests), 20, "a call is out")
            assert worker.child is not None
            told = time.monotonic()
            worker.child.process.terminate()
            assert worker.child.process.wait(30) == 0
            assert time.monotonic() - told < 15
    log = f"nearhit:{{{stack.namespace}}}:log:interactive"
    with stack.log_server.client() as client:
        assert client.xpending(log, "nearhit")["pending"] == 0
        assert len(stored(stack)) + client.xlen(log) == 101
        assert len(stored(stack)) > 1


def test_a_prefork_worker_that_is_told_to_stop_under_load_does_so_at_once(stack: Stack) -> None:
    enough = threading.Event()
    with stack.client() as cache:

        def fills() -> None:
            for number in itertools.count():
                if enough.wait(0.005):
                    return
                cache.fill(f"question {number}", "an answer")

        thread = threading.Thread(target=fills)
        thread.start()
        try:
            for _ in range(3):
                worker = stack.add_worker(*POOLS["prefork"])
                time.sleep(0.5)
                assert worker.child is not None
                told = time.monotonic()
                worker.child.process.terminate()
                assert worker.child.process.wait(30) == 0
                assert time.monotonic() - told < 15
        finally:
            enough.set()
            thread.join()


def test_a_stopped_worker_wakes_up_and_writes_nothing_over_what_came_after_it(stack: Stack) -> None:
    worker = stack.add_worker()
    with stack.client() as cache:
        assert cache.warm_up()
        cache.fill("a question", "first")
        wait_for(lambda: "a question" in stored(stack), 20, "the path is warm")
        stop(stack.cache_server, signal.SIGSTOP)
        cache.fill("a question", "older")
        with stack.log_server.client() as client:
            log = f"nearhit:{{{stack.namespace}}}:log:interactive"
            wait_for(lambda: client.xpending(log, "nearhit")["pending"] == 1, 10, "the worker has it in work")
        assert worker.child is not None
        os.kill(worker.child.process.pid, signal.SIGSTOP)
        stop(stack.cache_server, signal.SIGCONT)
        stack.add_worker()
        cache.fill("a question", "newer")
        stack.wait_until_stored(30)
        os.kill(worker.child.process.pid, signal.SIGCONT)
        time.sleep(2.0)
        stack.wait_until_stored(30)
    assert stored(stack) == {"a question": '"newer"'}


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_cannot_start_ends_with_a_code_that_says_so(stack: Stack, pool: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        changes = {**stack.variables, "NEARHIT_METRICS_PORT": str(taken.getsockname()[1])}
        child = Child(
            "worker",
            [sys.executable, "-m", "nearhit_worker", *POOLS[pool]],
            stack.folder,
            {**os.environ, **changes, "PYTHONPATH": os.getcwd()},  # noqa: PTH109 - the checkout, as for pytest
        )
        assert child.process.wait(60) == 2
