from __future__ import annotations

import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from nearhit_worker.stack import wait_until

from nearhit.errors import ConfigError, StoreUnavailableError, UnavailableError
from nearhit.flow.steps import ReplyError
from nearhit.index.local import LocalEngine
from tests.integration.local_engine.replica import KEYS, ROWS, finds
from tests.integration.local_server import (
    DIMENSION,
    Server,
    Writer,
    search,
    send,
)
from tests.support.threads import no_threads, ours

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis


def test_a_forked_child_follows_by_itself(
    engine: LocalEngine, server: Server, writer: Writer, client: redis.Redis
) -> None:
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ready = engine.wait_ready(10)
            with server.connect() as own:
                Writer(KEYS, own).write("child", ROWS[321])
                wait_until(lambda: finds(engine, own, 321, "child"), 5, "the child follows")
            os.write(write_end, b"ok" if ready and engine.stats().bootstraps == {"start": 1} else b"no")
            engine.close()
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"ok"
    os.waitpid(child, 0)
    wait_until(lambda: finds(engine, client, 321, "child"), 3, "the parent follows on")


def test_threads_share_one_replica(make: Callable[..., LocalEngine], server: Server, writer: Writer) -> None:
    for number in range(50):
        writer.write(f"n{number}", ROWS[number])
    engine = make()
    wrong: list[int] = []

    def look() -> None:
        engine.wait_ready(10)
        with server.connect() as own:
            wrong.extend(number for number in range(50) if not finds(engine, own, number, f"n{number}"))

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for number in range(100, 200):
        writer.write(f"n{number}", ROWS[number])
    for thread in threads:
        thread.join(20)
    assert wrong == []
    assert engine.stats().bootstraps == {"start": 1}
    assert sum(thread.name == "nearhit-replica" for thread in threading.enumerate()) == 1


def test_closing_ends_the_thread_for_good(engine: LocalEngine, client: redis.Redis) -> None:
    started = time.monotonic()
    engine.close()
    assert time.monotonic() - started < 2
    assert all(thread.name != "nearhit-replica" for thread in threading.enumerate())
    with pytest.raises(UnavailableError, match="was closed"):
        search(engine, client, ROWS[0])
    assert not engine.stats().ready
    assert math.isnan(engine.stats().lag_seconds), "nobody follows the server"
    engine.close()


def test_nothing_runs_before_the_first_search(make: Callable[..., LocalEngine]) -> None:
    engine = make()
    assert not engine.stats().ready
    assert all(thread.name != "nearhit-replica" for thread in threading.enumerate())


def test_a_replica_that_gets_no_thread_loads_when_there_is_one(
    make: Callable[..., LocalEngine], client: redis.Redis
) -> None:
    engine = make()
    with no_threads():
        assert not engine.wait_ready(0.01)
        with pytest.raises(UnavailableError, match="no thread can be started"):
            search(engine, client, ROWS[0])
        assert engine.stats().error == "no thread can be started"
    assert engine.wait_ready(10)
    assert search(engine, client, ROWS[0]) == []


def test_an_engine_that_nobody_holds_any_more_ends_its_thread(server: Server) -> None:
    before = ours()
    engine: Any = LocalEngine(KEYS, DIMENSION, server.connect)
    assert engine.wait_ready(10)
    assert ours() - before
    engine = None
    wait_until(lambda: not ours() - before, 5, "the thread ends")


def test_a_refusal_of_the_server_is_an_error_and_no_miss(engine: LocalEngine) -> None:
    flow = engine.search("s", ROWS[0], 1)
    next(flow)
    with pytest.raises(StoreUnavailableError, match="NOPERM"):
        flow.send([ReplyError("NOPERM no permissions")])


@pytest.mark.parametrize(("dimension", "max_entries"), [(0, 10), (8, 0)])
def test_a_bound_or_dimension_below_one_is_refused(server: Server, dimension: int, max_entries: int) -> None:
    with pytest.raises(ConfigError, match="0 must be at least 1"):
        LocalEngine(KEYS, dimension, server.connect, max_entries=max_entries)


def waits(client: redis.Redis) -> int:
    """Return how often a replica has waited for changes."""
    return int(client.info("commandstats").get("cmdstat_xread", {}).get("calls", 0))


def test_a_short_socket_timeout_does_not_disturb_the_follower(server: Server, writer: Writer) -> None:
    engine = LocalEngine(KEYS, DIMENSION, lambda: server.connect(socket_timeout=0.3))
    try:
        assert engine.wait_ready(10)
        with server.connect() as client:
            wait_until(lambda: waits(client) >= 4, 10, "several waits for changes, all without any")
        assert (engine.stats().error, engine.stats().bootstraps) == ("", {"start": 1})
    finally:
        engine.close()


def test_the_whole_fleet_uses_one_stream(make: Callable[..., LocalEngine], writer: Writer) -> None:
    engines = [make(), make(3)]
    assert all(engine.wait_ready(10) for engine in engines)
    writer.write("new", ROWS[0])
    for engine in engines:
        wait_until(lambda e=engine: e.stats().entries == 1, 2, "both see it")  # type: ignore[misc]
    assert send(writer.client, ("XLEN", KEYS.changes)) == [2]
