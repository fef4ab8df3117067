from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from nearhit.domain.vectors import to_bytes, unit_rows
from nearhit.index.local.codes import Codes
from nearhit.index.local.replica import Replica

CODES = Codes(16)
ROWS = unit_rows(np.random.default_rng(1).standard_normal((10, 16)))
PREFIX = "nearhit:qa:m1:e:"


def key(name: str, scope: str = "s") -> bytes:
    return f"{PREFIX}{scope}:{name}".encode()


def reply(number: int, end: bytes | None = b"100") -> list[Any]:
    return [to_bytes(ROWS[number]), end]


def make(max_entries: int = 100) -> Replica:
    return Replica(CODES, PREFIX, max_entries)


def nearest(replica: Replica, number: int, k: int = 1, now_ms: int = 0) -> list[bytes]:
    return [found for found, _ in replica.nearest("s", ROWS[number], k, now_ms)]


def test_one_path_adds_replaces_and_removes() -> None:
    replica = make()
    replica.apply([key("a"), key("b")], [reply(0), reply(1)])
    assert nearest(replica, 0) == [key("a")]
    replica.apply([key("a")], [reply(2)])
    assert nearest(replica, 2) == [key("a")]
    replica.apply([key("a")], [[None, None]])
    assert (len(replica), nearest(replica, 2), replica.skipped) == (1, [key("b")], 0)


@pytest.mark.parametrize(
    "bad",
    [
        [to_bytes(ROWS[0][:8].copy()), b"100"],
        [b"xyz", b"100"],
        [b"", b"100"],
        [np.full(16, np.nan, np.float32).tobytes(), b"100"],
        [np.zeros(16, np.float32).tobytes(), b"100"],
        [(3 * ROWS[0]).tobytes(), b"100"],
        [np.full(16, 1e38, np.float32).tobytes(), b"100"],
        [to_bytes(ROWS[0]), None],
        [to_bytes(ROWS[0]), b"soon"],
        [to_bytes(ROWS[0]), b"9" * 30],
        [None, b"100"],
        RuntimeError("WRONGTYPE"),
    ],
)
def test_what_cannot_be_read_is_skipped_counted_and_not_served(bad: Any) -> None:
    replica = make()
    replica.apply([key("a")], [reply(0)])
    replica.apply([key("a")], [bad])
    assert (len(replica), replica.skipped, nearest(replica, 0)) == (0, 1, [])


def test_a_key_that_is_no_entry_is_skipped() -> None:
    replica = make()
    replica.apply([b"elsewhere:s:a", f"{PREFIX}noscope".encode()], [reply(0), reply(1)])
    assert (len(replica), replica.skipped) == (0, 2)


def test_a_full_replica_serves_on_and_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    replica = make(max_entries=2)
    with caplog.at_level(logging.WARNING):
        replica.apply([key("a"), key("b"), key("c")], [reply(0), reply(1), reply(2)])
        replica.apply([key("d"), key("a")], [reply(3), reply(4)])
    assert (len(replica), replica.left_out, replica.full) == (2, 2, True)
    assert nearest(replica, 4) == [key("a")]
    assert [record.getMessage() for record in caplog.records] == [
        "the local replica is full and leaves entries out: use the valkey-search engine,"
        " spread the cache over namespaces, or raise max_entries"
    ]
    replica.apply([key("a"), key("b")], [[None, None], [None, None]])
    assert replica.has_room_again


def test_an_expired_entry_is_neither_found_nor_kept() -> None:
    replica = make()
    replica.apply([key("a"), key("b")], [reply(0, b"50"), reply(1, b"60")])
    assert nearest(replica, 0, 2, now_ms=50) == [key("b")]
    replica.drop_expired(50)
    assert len(replica) == 1


def test_a_scope_with_colons_is_one_scope() -> None:
    replica = make()
    replica.apply([key("a", scope="x:y")], [reply(0)])
    assert replica.nearest("x:y", ROWS[0], 1, 0)[0][0] == key("a", scope="x:y")
    assert replica.nearest("x", ROWS[0], 1, 0) == []
