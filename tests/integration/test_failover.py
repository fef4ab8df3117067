"""A failover behind a stable address: old connections stay open, and lead to a server that has become a replica."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer, Worker, wait_until

from nearhit import FillOutcome, Hit, Metrics, Server, Settings
from nearhit.errors import StoreUnavailableError
from nearhit.valkey.async_link import AsyncPoolLink
from nearhit.valkey.handshake import ROLE_SECONDS
from nearhit.valkey.link import link_to
from tests.chaos.stack import metric
from tests.support.delay import Delay
from tests.support.faces import Face

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)


class Pair:
    """A primary and its replica behind one address, which leads to the primary."""

    def __init__(self, folder: Path) -> None:
        at_once = ("--repl-diskless-sync-delay", "0")
        self.first = ValkeyServer(folder / "first", durable=True, options=at_once).start()
        self.second = ValkeyServer(folder / "second", durable=True, options=at_once).start()
        with self.second.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", self.first.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica follows")
        self.address = Delay(self.first.port, 0.0)
        self.url = f"valkey://127.0.0.1:{self.address.port}"

    def fail_over(self) -> None:
        """Change the roles once the replica has everything, and lead new connections to the new primary."""
        with self.first.client() as old, self.second.client() as new:
            old.execute_command("FAILOVER", "TO", "127.0.0.1", self.second.port, "TIMEOUT", 10_000)
            wait_until(lambda: new.role()[0] == b"master" and old.role()[0] == b"slave", 20, "the roles have changed")
        self.address.turn_to(self.second.port)

    def stop(self) -> None:
        self.address.close()
        self.first.stop()
        self.second.stop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    one = Pair(tmp_path)
    yield one
    one.stop()


@contextmanager
def sender(kind: str, server: Server, lost: Callable[[str], None]) -> Iterator[Callable[[Any, float], Any]]:
    """Give what sends commands over one link, of either kind."""
    if kind == "sync":
        link = link_to(server, lost)
        yield link.send
        link.close()
        return
    with asyncio.Runner() as runner:
        loop_link = AsyncPoolLink(server.async_client, lost=lost)
        yield lambda commands, seconds: runner.run(loop_link.send(commands, seconds))
        runner.run(loop_link.close())


def patiently(send: Callable[[Any, float], Any], commands: Any) -> list[Any]:
    """Return the replies, at the latest when the first connection is there."""
    replies: list[Any] = []

    def answered() -> bool:
        try:
            replies[:] = send(commands, 1.0)
        except StoreUnavailableError:
            return False
        return True

    wait_until(answered, 10, "the server answers")
    return replies


def test_who_writes_to_a_former_primary_is_served_by_the_new_one_in_the_same_call(kind: str, pair: Pair) -> None:
    lost: list[str] = []
    with sender(kind, Server(url=pair.url), lost.append) as send:
        assert patiently(send, (("SET", "a", 1),)) == [b"OK"]
        pair.fail_over()
        assert send((("SET", "b", 2), ("SET", "c", 3)), 2.0) == [b"OK", b"OK"]
        assert lost == ["read_only"]


def test_who_only_reads_from_a_former_primary_learns_of_it_in_seconds(kind: str, pair: Pair) -> None:
    lost: list[str] = []
    with sender(kind, Server(url=pair.url), lost.append) as send:
        patiently(send, (("PING",),))
        pair.fail_over()
        with pair.second.client() as client:
            client.set("who", "the new one")
        with pair.first.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", 1)  # it follows nobody any more, and grows old

        def moved() -> bool:
            send((("GET", "who"),), 2.0)
            return bool(lost)

        wait_until(moved, 3 * ROLE_SECONDS, "the link has left the former primary")
        assert send((("GET", "who"),), 2.0) == [b"the new one"]
        assert lost == ["role"]


@pytest.mark.parametrize("reply", ["LOADING server is loading", "MASTERDOWN no link", "UNBLOCKED changed"])
def test_a_server_that_cannot_answer_now_is_left(kind: str, plain_server: ValkeyServer, reply: str) -> None:
    lost: list[str] = []
    script = ("EVAL", f"return redis.error_reply('{reply}')", 0)
    with sender(kind, Server(url=plain_server.url), lost.append) as send:
        patiently(send, (("PING",),))
        with pytest.raises(StoreUnavailableError, match=reply.split(" ", 1)[1]):
            send((script,), 2.0)
        assert lost
        assert set(lost) == {{"L": "loading", "M": "primary_down", "U": "unblocked"}[reply[0]]}
        assert send((("PING",),), 2.0) == [b"PONG"]


def test_a_cache_and_its_worker_go_on_after_a_failover_under_load(kind: str, pair: Pair, tmp_path: Path) -> None:
    values: dict[str, Any] = {"threshold": 0.8, "url": pair.url, "model": "hash/64", "namespace": "failover"}
    environ = {f"NEARHIT_{name.upper()}": str(value) for name, value in values.items()} | {"NEARHIT_GUARD": "0"}
    settings = Settings(**values, guard=False, deadline_ms=1_000, enqueue_deadline_ms=500)
    outcomes: list[FillOutcome] = []
    with Worker(tmp_path / "worker", environ) as worker, Face(kind, settings, metrics=Metrics()) as cache:
        assert cache.warm_up()
        cache.fill("the first question", "an answer")
        wait_until(lambda: bool(cache.lookup("the first question")), 20, "the path is warm")
        turn = threading.Thread(target=pair.fail_over)
        for number in range(300):
            if number == 100:
                turn.start()
            outcomes.append(cache.fill(f"question {number}", number))
        turn.join()
        assert FillOutcome.DROPPED not in outcomes
        cache.fill("after it", "an answer")
        wait_until(lambda: bool(cache.lookup("after it")), 5, "hits again")

        def answers() -> list[Any]:
            found = (cache.lookup(f"question {number}") for number in range(300))
            return [one.answer for one in found if isinstance(one, Hit)]

        wait_until(lambda: answers() == list(range(300)), 20, "no fill is lost")
        assert metric(worker, "nearhit_reconnects_total") > 0
