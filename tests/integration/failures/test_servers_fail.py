"""Reads never hurt: whatever server is down, hung, killed or slow, a lookup ends in time and says why."""

from __future__ import annotations

import socket
import threading
import time
from functools import partial
from typing import Any

import pytest
from nearhit_worker.stack import ValkeyServer, free_port, wait_until

from nearhit import FillOutcome, Miss, MissReason, Settings
from tests.support.faces import Face
from tests.support.failures import DEADLINE_MS, MARGIN_SECONDS, count, frozen, in_time, reason, stocked, timed
from tests.support.outcomes import NOTHING
from tests.support.store import Store
from tests.support.writer import written


def test_a_server_that_was_never_there_is_a_miss_in_time(kind: str, namespace: str) -> None:
    settings = Settings(threshold=0.8, url=f"valkey://127.0.0.1:{free_port()}", namespace=namespace, model="hash/64")
    with Face(kind, settings) as cache:
        for _ in range(5):
            assert reason(in_time(lambda: cache.lookup("What is it?"))) is MissReason.UNAVAILABLE
        assert in_time(lambda: cache.fill("What is it?", "x"), 50) is FillOutcome.SPOOLED
        assert count(cache, "nearhit_lookups_total", tier="none", outcome="unavailable") == 5


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_hung_server_is_a_miss_in_time_and_a_hit_when_it_wakes(
    own_face: Any, own_settings: Any, own_server: ValkeyServer, warm: bool
) -> None:
    if warm:
        cache = own_face()
        stocked(cache, own_settings())
    else:
        store = Store(own_settings())
        store.add("What is it?", "a thing")
        store.close()
        cache = own_face()
    with frozen(own_server):
        for _ in range(6):
            assert reason(in_time(lambda: cache.lookup("What is it?"))) in {MissReason.UNAVAILABLE, MissReason.WARMING}
        fast = [timed(lambda: cache.lookup("What is it?"))[1] for _ in range(5)]
        if warm:
            assert min(fast) < DEADLINE_MS / 1000  # the breaker is open: most lookups do not even try
        assert in_time(lambda: cache.fill("Who is it?", "x"), 50) is FillOutcome.SPOOLED
        assert in_time(lambda: cache.fill("Who is it?", "x" * 4_000_000), 50) is FillOutcome.SPOOLED
    wait_until(lambda: bool(cache.lookup("What is it?")), 20, "it is a hit again")


def test_a_hung_server_holds_no_caller_of_a_cache_with_one_connection_for_each_of_many_threads(
    own_face: Any, own_settings: Any, own_server: ValkeyServer, kind: str
) -> None:
    if kind == "asyncio":
        return  # one loop, one thread
    cache = own_face()
    stocked(cache, own_settings())
    seconds: list[float] = []
    with frozen(own_server):
        threads = [
            threading.Thread(target=lambda: seconds.append(timed(lambda: cache.lookup("What is it?"))[1]))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seconds) == 12
    assert max(seconds) < DEADLINE_MS / 1000 + MARGIN_SECONDS


def test_a_killed_server_is_a_miss_in_time_and_a_hit_when_it_is_back(
    own_face: Any, own_settings: Any, own_server: ValkeyServer
) -> None:
    cache = own_face()
    stocked(cache, own_settings())
    own_server.kill()
    for _ in range(5):
        assert reason(in_time(lambda: cache.lookup("What is it?"))) is MissReason.UNAVAILABLE
    assert count(cache, "nearhit_breaker_open", part="store") == 1
    assert cache.fill("Who is it?", "nobody") is FillOutcome.SPOOLED
    own_server.start()
    wait_until(lambda: bool(cache.lookup("What is it?")), 20, "it is a hit again")
    wait_until(lambda: bool(cache.lookup("what is it")), 20, "the semantic tier is back")
    assert count(cache, "nearhit_breaker_open", part="store") == 0


def test_fills_of_an_outage_are_written_when_it_is_over(
    own_face: Any, own_settings: Any, own_server: ValkeyServer
) -> None:
    cache = own_face()
    stocked(cache, own_settings())
    own_server.kill()
    for number in range(20):
        assert in_time(partial(cache.fill, f"Question {number}?", number), 50) is FillOutcome.SPOOLED
    own_server.start()
    wait_until(lambda: count(cache, "nearhit_spool_fills") == 0, 20, "the spool is sent")
    assert count(cache, "nearhit_fills_total", outcome="accepted") == 20
    assert written(own_settings()) == 20
    wait_until(lambda: getattr(cache.lookup("Question 7?"), "answer", 0) == 7, 20, "what was filled is a hit")


def test_a_server_that_comes_back_empty_is_filled_anew(
    own_face: Any, own_settings: Any, own_server: ValkeyServer
) -> None:
    cache = own_face()
    stocked(cache, own_settings())
    with own_server.client() as client:
        client.flushall()
    wait_until(lambda: not cache.lookup("what is it"), 10, "the entry is gone")
    store = Store(own_settings())
    store.add("What is it?", "another thing")
    wait_until(lambda: getattr(cache.lookup("what is it"), "answer", "") == "another thing", 10, "it is found again")
    store.close()


class Slow:
    """A server in front of the real one that answers, but late."""

    def __init__(self, port: int, seconds: float) -> None:
        self._target, self.seconds = port, seconds
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket] = [self._socket]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open += [near, far]
            for pair in ((near, far, 0), (far, near, 1)):
                thread = threading.Thread(target=self._carry, args=pair, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, late: int) -> None:
        try:
            while data := source.recv(65536):
                time.sleep(self.seconds * late)
                target.sendall(data)
        except OSError:
            return
        finally:
            target.close()

    def close(self) -> None:
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                one.close()
        for thread in self._threads:
            thread.join(5)


@pytest.mark.parametrize("seconds", [0.15, 0.6])
def test_a_slow_server_is_a_miss_in_time(own_face: Any, own_server: ValkeyServer, seconds: float) -> None:
    slow = Slow(own_server.port, 0.0)
    cache = own_face(url=f"valkey://127.0.0.1:{slow.port}")
    assert cache.warm_up()
    slow.seconds = seconds
    for number in range(4):
        assert isinstance(in_time(partial(cache.lookup, f"What is {number}?")), Miss)
    slow.seconds = 0.0
    wait_until(lambda: reason(cache.lookup("What?")) in NOTHING, 20, "it answers again")
    cache.close()
    slow.close()


def test_a_lookup_without_any_budget_left_is_a_miss(own_face: Any, own_settings: Any) -> None:
    cache = own_face(deadline_ms=1)
    stocked_settings = own_settings()
    cache.warm_up()
    store = Store(stocked_settings)
    store.add("What is it?", "a thing")
    store.close()
    for _ in range(20):
        assert in_time(lambda: cache.lookup("What is it?"), 1) is not None
