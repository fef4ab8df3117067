from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from nearhit_worker.stack import wait_until

from nearhit.domain import entry
from nearhit.domain.vectors import to_bytes
from nearhit.errors import UnavailableError
from nearhit.index.local import LocalEngine
from tests.integration.local_engine.replica import KEYS, ROWS, finds, recovers
from tests.integration.local_server import (
    LATER_MS,
    Server,
    Writer,
    search,
    vectors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from nearhit.index.engine import Engine


def test_it_is_an_engine(make: Callable[..., LocalEngine]) -> None:
    engine: Engine = make()
    assert engine.name == "local"
    with pytest.raises(StopIteration):
        next(engine.prepare())


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_nearest_entries_are_those_of_brute_force(
    make: Callable[..., LocalEngine], writer: Writer, client: redis.Redis, protocol: int
) -> None:
    for number in range(200):
        writer.write(f"n{number}", ROWS[number])
    engine = make(protocol)
    assert engine.wait_ready(10)
    for number in range(200, 300):
        writer.write(f"n{number}", ROWS[number])
    wait_until(lambda: engine.stats().entries == 300, 5, "all writes are seen")
    for query in vectors(20, seed=9):
        similarities = ROWS[:300] @ query
        order = np.argsort(-similarities)[:4]
        found = search(engine, client, query)
        assert [neighbour.key for neighbour in found] == [KEYS.entry("s", f"n{n}").encode() for n in order]
        assert [neighbour.similarity for neighbour in found] == pytest.approx(similarities[order], abs=1e-6)


def test_fields_are_those_present_without_the_vector(engine: LocalEngine, client: redis.Redis) -> None:
    assert search(engine, client, ROWS[3], k=1)[0].fields == {
        entry.SCOPE: b"s",
        entry.PROMPT: b"n3",
        entry.RESPONSE: b'"a"',
        entry.EXPIRES: b"%d" % LATER_MS,
    }


def test_other_scopes_are_not_searched(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    writer.write("other", ROWS[300], scope="t")
    wait_until(lambda: len(search(engine, client, ROWS[300], scope="t")) == 1, 2, "the write is seen")
    assert not finds(engine, client, 300, "other")
    assert search(engine, client, ROWS[300], scope="u") == []


def test_a_write_is_visible_within_milliseconds(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    lags = []
    for number in range(100, 200):
        writer.write(f"n{number}", ROWS[number])
        written = time.perf_counter()
        wait_until(lambda n=number: finds(engine, client, n, f"n{n}"), 2, "the write is visible")  # type: ignore[misc]
        lags.append(time.perf_counter() - written)
    assert sorted(lags)[50] < 0.05  # 0.3 ms measured on an idle machine; the bench holds the 5 ms


def test_an_overwrite_and_a_removal_are_followed(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    writer.write("n1", ROWS[301])
    wait_until(lambda: finds(engine, client, 301, "n1"), 2, "the overwrite is seen")
    writer.remove("n1")
    wait_until(lambda: engine.stats().entries == 49, 2, "the removal is seen")
    assert not finds(engine, client, 301, "n1")


def test_a_write_appends_nothing_before_a_replica_asked(writer: Writer, client: redis.Redis) -> None:
    writer.write("n1", ROWS[1])
    assert client.exists(KEYS.changes) == 0


def test_the_change_stream_ends_after_the_last_replica(engine: LocalEngine, client: redis.Redis) -> None:
    assert 0 < client.ttl(KEYS.changes) <= 3600


def test_a_loading_replica_says_so_at_once(make: Callable[..., LocalEngine], client: redis.Redis) -> None:
    engine = make()
    with pytest.raises(UnavailableError, match=r"still loading$"):
        search(engine, client, ROWS[0])
    assert engine.wait_ready(10)
    assert search(engine, client, ROWS[0]) == []


def test_an_entry_removed_unannounced_is_dropped_by_the_search(
    engine: LocalEngine, client: redis.Redis, writer: Writer
) -> None:
    writer.remove("n2", announced=False)
    found = search(engine, client, ROWS[2])
    assert KEYS.entry("s", "n2").encode() not in [neighbour.key for neighbour in found]
    wait_until(lambda: engine.stats().entries == 49, 3, "the replica was told")


def test_the_next_entry_is_found_where_the_nearest_is_gone_or_has_changed(
    engine: LocalEngine, client: redis.Redis, writer: Writer
) -> None:
    for name, change in (
        ("n2", lambda: writer.remove("n2", announced=False)),
        ("n4", lambda: writer.write("n4", -ROWS[4], announced=False)),
    ):
        row = ROWS[int(name[1:])]
        second = search(engine, client, row, k=2)[1]
        change()
        assert [one.key for one in search(engine, client, row, k=1)] == [second.key]


def test_an_entry_changed_unannounced_has_its_own_similarity(
    engine: LocalEngine, client: redis.Redis, writer: Writer
) -> None:
    writer.write("n2", ROWS[5], announced=False)
    found = {neighbour.key: neighbour.similarity for neighbour in search(engine, client, ROWS[2], k=50)}
    assert found[KEYS.entry("s", "n2").encode()] == pytest.approx(float(ROWS[5] @ ROWS[2]), abs=1e-6)
    wait_until(lambda: finds(engine, client, 5, "n2") or finds(engine, client, 5, "n5"), 3, "still served")
    wait_until(
        lambda: KEYS.entry("s", "n2").encode() in [n.key for n in search(engine, client, ROWS[5], k=2)],
        3,
        "the replica was told",
    )


def test_expired_entries_are_filtered_by_their_own_end(make: Callable[..., LocalEngine], writer: Writer) -> None:
    now = [1000.0]
    engine = make(now_seconds=lambda: now[0])
    writer.write("short", ROWS[0], expires_ms=1_000_500)
    assert engine.wait_ready(10)
    assert finds(engine, writer.client, 0, "short")
    now[0] = 1000.5
    assert search(engine, writer.client, ROWS[0]) == []
    wait_until(lambda: engine.stats().entries == 0, 3, "the expired entry is let go")


def test_unreadable_entries_are_skipped_and_counted(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    key = writer.write("bad", ROWS[0][:8])
    wait_until(lambda: engine.stats().skipped == 1, 2, "it is counted")
    assert key not in [neighbour.key for neighbour in search(engine, client, ROWS[0], k=50)]


def test_trimmed_changes_are_met_by_a_new_load(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    with client.pipeline(transaction=True) as pipeline:  # nobody can read between the change and the trim
        key = KEYS.entry("s", "new")
        fields = {entry.SCOPE: "s", entry.EMBEDDING: to_bytes(ROWS[310]), entry.EXPIRES: LATER_MS}
        pipeline.hset(key, mapping=fields)  # type: ignore[arg-type]
        pipeline.xadd(KEYS.changes, {"k": key})
        pipeline.xtrim(KEYS.changes, maxlen=0, approximate=False)
        pipeline.execute()
    recovers(engine, "gap")
    assert finds(engine, client, 310, "new")


def test_a_deleted_stream_is_met_by_a_new_load(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    client.delete(KEYS.changes)
    writer.write("new", ROWS[311])
    recovers(engine, "stream-lost")
    assert finds(engine, client, 311, "new")
    writer.write("newer", ROWS[312])
    wait_until(lambda: finds(engine, client, 312, "newer"), 2, "the new stream is followed")


@pytest.mark.parametrize("flush", ["FLUSHALL", "FLUSHDB"])
def test_a_flush_is_met_by_a_new_load(engine: LocalEngine, client: redis.Redis, writer: Writer, flush: str) -> None:
    client.execute_command(flush)
    assert search(engine, client, ROWS[0]) == []
    recovers(engine, "stream-lost")
    assert engine.stats().entries == 0
    writer.write("new", ROWS[313])
    wait_until(lambda: finds(engine, client, 313, "new"), 2, "the new stream is followed")


def test_a_flush_that_another_replica_repaired_is_noticed(
    engine: LocalEngine, client: redis.Redis, writer: Writer
) -> None:
    with client.pipeline(transaction=True) as pipeline:
        pipeline.flushall()
        pipeline.xadd(KEYS.changes, {"init": "1"})
        pipeline.execute()
    recovers(engine, "gap")
    assert engine.stats().entries == 0


def test_an_older_stream_is_met_by_a_new_load(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(KEYS.changes)
        pipeline.xadd(KEYS.changes, {"init": "1"}, id="5-0")
        pipeline.execute()
    recovers(engine, "rewound")


def test_a_killed_server_is_outlived_and_its_next_run_loaded(
    engine: LocalEngine, server: Server, writer: Writer
) -> None:
    server.stop()
    wait_until(lambda: engine.stats().error != "" and engine.stats().lag_seconds > 0, 3, "the loss is seen")
    assert engine.stats().ready
    server.start()
    with server.connect() as client:
        Writer(KEYS, client).write("new", ROWS[314])
        recovers(engine, "server-changed")
        wait_until(lambda: finds(engine, client, 314, "new"), 2, "the new run is followed")
    assert (engine.stats().error, engine.stats().entries) == ("", 1)


def test_a_lost_connection_goes_on_without_a_load(engine: LocalEngine, client: redis.Redis, writer: Writer) -> None:
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    writer.write("new", ROWS[315])
    wait_until(lambda: finds(engine, client, 315, "new"), 3, "the replica reads on")
    assert engine.stats().bootstraps == {"start": 1}


def test_a_server_that_is_not_there_is_named(server: Server, make: Callable[..., LocalEngine]) -> None:
    server.stop()
    engine = make()
    assert not engine.wait_ready(0.1)
    wait_until(lambda: engine.stats().error != "", 5, "the refusal is seen")
    with pytest.raises(UnavailableError, match=r"the replica cannot be loaded: .*refused"):
        search(engine, None, ROWS[0])
    server.start()
    assert engine.wait_ready(10)


def test_a_bounded_replica_keeps_serving_and_fills_up_when_there_is_room(
    make: Callable[..., LocalEngine], client: redis.Redis, writer: Writer
) -> None:
    for number in range(40):
        writer.write(f"n{number}", ROWS[number])
    engine = make(max_entries=30)
    assert engine.wait_ready(10)
    assert (engine.stats().entries, engine.stats().left_out) == (30, 10)
    writer.write("more", ROWS[320])
    wait_until(lambda: engine.stats().left_out == 11, 2, "the new one is counted")
    for number in range(20):
        writer.remove(f"n{number}")
    recovers(engine, "room")
    wait_until(lambda: engine.stats().entries == 21, 3, "what was left out is there")
    assert engine.stats().left_out == 0
