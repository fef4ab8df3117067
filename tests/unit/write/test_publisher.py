"""The caller's side of the fill log: accepted, spooled or dropped, counted, and in order."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import wait_until

from nearhit import FillOutcome, Metrics
from nearhit.errors import StoreUnavailableError
from nearhit.flow.steps import ReplyError
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.valkey.key_names import LogKeys
from nearhit.write.publisher import AsyncPublisher, Publisher
from nearhit.write.spool import Spool, Spooled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nearhit.flow.steps import Command


class Log:
    """A log's server in memory that can be switched off, under both faces of a link."""

    def __init__(self) -> None:
        self.fills: list[bytes] = []
        self.says: Any = b"1-1"
        self.up = True
        self.spool_tries = 0

    def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        self.spool_tries += threading.current_thread() is not threading.main_thread()
        if not self.up:
            raise StoreUnavailableError("no reply")
        if not isinstance(self.says, ReplyError):
            self.fills += [bytes(command[4]) for command in commands if command[0] == "XADD"]  # type: ignore[arg-type]
        return [self.says for _ in commands]

    def close(self) -> None: ...


class AsyncLog:
    def __init__(self, log: Log) -> None:
        self._log = log

    async def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        return self._log.send(commands, timeout_seconds)

    async def close(self) -> None: ...


class CountingWakeUp:
    def __init__(self) -> None:
        self.rung: list[str] = []

    def notify(self, lane: str) -> None:
        self.rung.append(lane)

    def close(self, timeout_seconds: float = 2.0) -> None: ...

    def end(self) -> None: ...


class Publishing:
    """A publisher of either kind with its surroundings."""

    def __init__(self, kind: str, **bounds: Any) -> None:
        self.kind, self.log, self.bell, self.metrics = kind, Log(), CountingWakeUp(), Metrics()
        breaker = CircuitBreaker(cool_down_seconds=0.05)
        parts = (LogKeys("n"), self.log, self.bell, self.metrics, breaker)
        self.publisher = (
            Publisher(*parts, **bounds) if kind == "sync" else AsyncPublisher(*parts, AsyncLog(self.log), **bounds)
        )

    def fill(self, blob: bytes) -> FillOutcome:
        if isinstance(self.publisher, AsyncPublisher):
            return asyncio.run(self.publisher.publish_async(blob, "interactive", 1.0))
        return self.publisher.publish(blob, "interactive", 1.0)

    def count(self, outcome: FillOutcome) -> float:
        labels = {"namespace": "default", "outcome": outcome.value}
        return self.metrics.registry.get_sample_value("nearhit_fills_total", labels) or 0.0


@pytest.fixture
def desk(kind: str) -> Iterator[Callable[..., Publishing]]:
    made: list[Publishing] = []

    def make(**bounds: int) -> Publishing:
        made.append(Publishing(kind, **bounds))
        return made[-1]

    yield make
    for one in made:
        one.publisher.close(0.1)


def test_an_accepted_fill_is_in_the_log_and_wakes_a_worker(desk: Callable[..., Publishing]) -> None:
    one = desk()
    assert one.fill(b"a") is FillOutcome.ACCEPTED
    assert (one.log.fills, one.bell.rung, one.count(FillOutcome.ACCEPTED)) == ([b"a"], ["interactive"], 1)


def test_fills_of_an_outage_arrive_in_order_when_it_is_over(desk: Callable[..., Publishing]) -> None:
    one = desk()
    one.log.up = False
    blobs = [b"%d" % number for number in range(200)]
    assert {one.fill(blob) for blob in blobs} == {FillOutcome.SPOOLED}
    assert one.publisher.spooled == 200
    one.log.up = True
    wait_until(lambda: one.publisher.spooled == 0, 10, "the spool is sent")
    wait_until(lambda: one.fill(b"last") is FillOutcome.ACCEPTED, 10, "a fill goes straight to the log again")
    assert one.log.fills[:200] == blobs
    assert one.metrics.registry.get_sample_value("nearhit_spool_fills", {"namespace": "default"}) == 0
    assert one.count(FillOutcome.ACCEPTED) == 201
    assert one.bell.rung


@pytest.mark.parametrize("reply", ["OOM command not allowed", "READONLY", "LOADING", "WRONGTYPE"])
def test_a_fill_that_the_server_refuses_waits_in_memory(desk: Callable[..., Publishing], reply: str) -> None:
    one = desk()
    one.log.says = ReplyError(reply)
    assert one.fill(b"a") is FillOutcome.SPOOLED
    one.log.says = b"1-1"
    wait_until(lambda: one.log.fills == [b"a"], 10, "the spool is sent")


def test_the_oldest_fills_are_dropped_when_the_spool_is_full(desk: Callable[..., Publishing]) -> None:
    one = desk(max_fills=3)
    one.log.up = False
    for number in range(5):
        one.fill(b"%d" % number)
    assert (one.publisher.spooled, one.count(FillOutcome.DROPPED)) == (3, 2)
    one.log.up = True
    wait_until(lambda: one.publisher.spooled == 0, 10, "the spool is sent")
    assert one.log.fills == [b"2", b"3", b"4"]


def test_the_spool_is_bounded_in_bytes_too(desk: Callable[..., Publishing]) -> None:
    one = desk(max_bytes=10)
    one.log.up = False
    assert one.fill(b"x" * 8) is FillOutcome.SPOOLED
    wait_until(
        lambda: one.log.spool_tries > 0, 10, "the spool has tried to send it"
    )  # what is being sent is not pushed out
    assert one.fill(b"y" * 8) is FillOutcome.SPOOLED
    assert one.fill(b"z" * 11) is FillOutcome.DROPPED  # itself alone: it pushes nothing out
    assert one.count(FillOutcome.DROPPED) == 2


def test_without_a_spool_a_fill_of_an_outage_is_dropped(desk: Callable[..., Publishing]) -> None:
    one = desk(max_fills=0)
    one.log.up = False
    assert one.fill(b"a") is FillOutcome.DROPPED
    assert one.count(FillOutcome.DROPPED) == 1


def test_what_is_left_at_the_end_is_counted_as_dropped(desk: Callable[..., Publishing]) -> None:
    one = desk()
    one.log.up = False
    one.fill(b"a")
    one.publisher.close(0.1)
    assert one.count(FillOutcome.DROPPED) == 1


def test_closing_sends_what_can_be_sent(desk: Callable[..., Publishing]) -> None:
    one = desk()
    one.log.up = False
    one.fill(b"a")
    one.log.up = True
    one.publisher.close(5.0)
    assert one.log.fills == [b"a"]
    assert one.count(FillOutcome.DROPPED) == 0


def test_an_outage_costs_one_try_now_and_then_and_not_one_a_fill(desk: Callable[..., Publishing]) -> None:
    one = desk()
    one.log.up = False
    started = time.monotonic()
    for _ in range(100):
        one.fill(b"a")
    assert time.monotonic() - started < 5
    labels = {"namespace": "default", "stage": "enqueue", "kind": "StoreUnavailableError"}
    assert (one.metrics.registry.get_sample_value("nearhit_errors_total", labels) or 0) <= 1


def test_threads_lose_nothing_between_them(kind: str) -> None:
    one = Publishing(kind)
    one.log.up = False
    threads = [
        threading.Thread(target=lambda start=start: [one.fill(b"%d" % number) for number in range(start, start + 50)])
        for start in range(0, 400, 50)
    ]
    for thread in threads:
        thread.start()
    one.log.up = True
    for thread in threads:
        thread.join()
    wait_until(lambda: one.publisher.spooled == 0, 10, "the spool is sent")
    wait_until(lambda: len(one.log.fills) == 400, 10, "every fill is in the log")
    assert sorted(map(int, one.log.fills)) == list(range(400))
    one.publisher.close(0.1)


def test_a_fill_that_was_pushed_out_is_told_so_and_counted_once(desk: Callable[..., Publishing]) -> None:
    one = desk(max_fills=1)
    one.log.up = False
    one.fill(b"first")
    wait_until(lambda: one.log.spool_tries > 0, 10, "the spool has tried to send it")
    one.fill(b"second")
    assert one.count(FillOutcome.SPOOLED) + one.count(FillOutcome.DROPPED) == 3  # the first is counted as both in turn
    assert one.count(FillOutcome.DROPPED) == 1


def test_a_spooled_fill_learns_that_a_newer_one_pushed_it_out() -> None:
    spool = Spool(lambda _: False, max_fills=1, max_bytes=1_000)
    first, second = Spooled("interactive", b"1", 0), Spooled("interactive", b"2", 0)
    assert spool.keep(first) == (True, 0)
    wait_until(lambda: spool.failing, 10, "the spool has tried to send it")
    assert spool.keep(second) == (True, 1)
    assert first.wait(0.0)
    assert (first.dropped, second.dropped) == (True, False)
    spool.close(0.1)
