"""The caller's side: deadlines, the spool, forks, a log server that hangs or is full."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import AsyncSemanticCache, FillOutcome, SemanticCache
from nearhit.errors import StoreUnavailableError
from nearhit.valkey.key_names import LogKeys
from nearhit.write import fill_log
from tests.support.log import drained, hashed, run, wait_until_silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


def stop(server: ValkeyServer, number: int) -> None:
    assert server.child is not None
    os.kill(server.child.process.pid, number)


def connect(cache: SemanticCache) -> None:
    """Return once fills go through; on a busy machine the first connection may take longer than the deadline."""
    accepted = FillOutcome.ACCEPTED
    wait_until(lambda: cache.fill("first", "answer") is accepted, 10, "the cache is connected to the log")


@pytest.mark.parametrize("warm", [True, False])
def test_a_log_server_that_hangs_holds_no_caller_beyond_its_deadline(
    settings: Callable[..., Settings], own_server: ValkeyServer, warm: bool
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=50, connect_timeout_ms=3_000)
    with SemanticCache(made) as cache:
        if warm:
            connect(cache)
        stop(own_server, signal.SIGSTOP)
        times, outcomes = [], []
        for number in range(30):
            started = time.monotonic()
            outcomes.append(cache.fill(f"question {number}", "answer"))
            times.append(time.monotonic() - started)
        stop(own_server, signal.SIGCONT)
        assert set(outcomes) == {FillOutcome.SPOOLED}
        assert max(times) < 0.5  # 50 ms, and what a busy machine adds; a connect would take 3 s
        assert sum(times) < 1.0  # after three failures the breaker is open, and a fill waits for nothing
        assert cache.flush(15)
        with own_server.client() as client:
            assert client.xlen(LogKeys(made.namespace).log("interactive")) >= 30 + warm


def test_threads_that_hang_on_a_log_server_together_all_keep_their_deadline(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=50, connect_timeout_ms=3_000)
    with SemanticCache(made) as cache:
        connect(cache)
        stop(own_server, signal.SIGSTOP)
        times: list[float] = []

        def fill() -> None:
            started = time.monotonic()
            cache.fill("question", "answer")
            times.append(time.monotonic() - started)

        threads = [threading.Thread(target=fill) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop(own_server, signal.SIGCONT)
        assert len(times) == 20
        assert max(times) < 0.5


def test_the_asyncio_twin_blocks_its_loop_for_no_server(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=50, connect_timeout_ms=3_000)

    async def fill_all() -> tuple[list[float], float, set[FillOutcome]]:
        gaps: list[float] = []

        async def beat() -> None:
            last = time.monotonic()
            while True:
                await asyncio.sleep(0.005)
                gaps.append(time.monotonic() - last)
                last = time.monotonic()

        async with AsyncSemanticCache(made) as cache:
            for _ in range(200):
                if await cache.fill("first", "answer") is FillOutcome.ACCEPTED:
                    break
                await asyncio.sleep(0.01)
            stop(own_server, signal.SIGSTOP)
            beating = asyncio.create_task(beat())
            started = time.monotonic()
            outcomes = {await cache.fill(f"question {number}", "answer") for number in range(30)}
            seconds = time.monotonic() - started
            beating.cancel()
            stop(own_server, signal.SIGCONT)
            assert await cache.flush(15)
            return gaps, seconds, outcomes

    gaps, seconds, outcomes = asyncio.run(fill_all())
    assert outcomes == {FillOutcome.SPOOLED}
    assert seconds < 2.0
    assert max(gaps) < 0.5  # the loop never stood still


def test_the_spool_keeps_the_newest_and_counts_what_it_drops(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=20, spool_max_fills=10)
    own_server.stop()
    with SemanticCache(made) as cache:
        for number in range(25):
            cache.fill(f"question {number}", "answer")
        dropped = cache.metrics.registry.get_sample_value(
            "nearhit_fills_total", {"namespace": made.namespace, "outcome": "dropped"}
        )
        own_server.start()
        assert cache.flush(15)
        runtime = hashed(made)
        drained(runtime, own_server)
        with own_server.client() as client:
            assert client.xlen(LogKeys(made.namespace).log("interactive")) == 0
    kept = {f"question {number}" for number in range(15, 25)}
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        assert {f"question {n}" for n in range(25) if cache.lookup(f"question {n}")} == kept
    assert dropped == 15


def test_a_forked_child_fills_and_sends_nothing_of_its_parent_twice(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    with SemanticCache(made) as cache:
        assert cache.fill("of the parent", "answer") is FillOutcome.ACCEPTED
        pid = os.fork()
        if pid == 0:
            outcome = cache.fill("of the child", "answer")
            os._exit(0 if outcome is FillOutcome.ACCEPTED else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert cache.fill("of the parent, later", "answer") is FillOutcome.ACCEPTED
    with server.client() as client:
        assert client.xlen(LogKeys(made.namespace).log("interactive")) == 3


def test_a_full_log_server_costs_no_fill(settings: Callable[..., Settings], own_server: ValkeyServer) -> None:
    made = settings(log_url=own_server.url)
    with SemanticCache(made) as cache, own_server.client() as client:
        assert cache.fill("first", "answer") is FillOutcome.ACCEPTED
        client.config_set("maxmemory", 1)
        assert cache.fill("second", "answer") is FillOutcome.SPOOLED
        client.config_set("maxmemory", 0)
        assert cache.flush(10)
        drained(hashed(made), own_server)
        assert cache.warm_up()
        assert cache.lookup("second")


def test_a_worker_at_a_full_log_server_keeps_its_fills(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, claim_idle_ms=100)
    keys = LogKeys(made.namespace)
    with own_server.client() as client:
        run(own_server, fill_log.open_log(keys, "interactive"))
        run(own_server, fill_log.accept(keys, "interactive", [b"garbage"], 1))
        client.config_set("maxmemory", 1)
        runtime = hashed(made)
        with pytest.raises(StoreUnavailableError, match=r"OOM|OutOfMemory|maxmemory"):
            runtime.drain("interactive")
        client.config_set("maxmemory", 0)
        wait_until_silent(own_server, made.namespace, 100)
        drained(runtime, own_server)
        assert client.xlen(keys.dead) == 1
