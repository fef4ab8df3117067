"""What other programs leave where fills go: none of it keeps an accepted fill from being stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from nearhit import SemanticCache
from nearhit.domain.entry import MAX_WHOLE
from nearhit.domain.fill_message import FIELD
from nearhit.valkey.key_names import LogKeys, lease
from nearhit.write.fill_log import QUEUED, TRIES
from nearhit.write.upsert import LEASE_MS
from tests.support.log import drained, hashed, letters, prompts_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


def filled_once(made: Settings, server: ValkeyServer) -> str:
    """Store an answer and return the key of its entry."""
    with SemanticCache(made) as cache:
        cache.fill("a question", "an answer of before")
    drained(hashed(made), server)
    with server.client() as client:
        [name] = client.scan_iter(f"nearhit:{made.namespace}:*:e:*")
    return str(name.decode())


@pytest.mark.parametrize(
    "created",
    [b"%d" % MAX_WHOLE, b"9" * 16, b"9" * 30, b"9" * 5000, b"4102444800000000", b"soon", b"-5", b"1e99", b"", b"\xff"],
)
def test_an_entry_whose_time_is_none_keeps_no_later_answer_out(
    settings: Callable[..., Settings], server: ValkeyServer, created: bytes
) -> None:
    made = settings()
    name = filled_once(made, server)
    with server.client() as client:
        client.hset(name, "created", created)
    with SemanticCache(made) as cache:
        cache.fill("a question", "a later answer")
    drained(hashed(made), server)
    assert prompts_in(server, made.namespace) == {"a question": "a later answer"}


def test_an_entry_of_a_clock_that_is_a_little_ahead_stays_the_newer_one(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    name = filled_once(made, server)
    with server.client() as client:
        client.hset(name, "created", time.time_ns() // 1000 + 60_000_000)
    with SemanticCache(made) as cache:
        cache.fill("a question", "an older answer")
    drained(hashed(made), server)
    assert prompts_in(server, made.namespace) == {"a question": "an answer of before"}


def test_a_lease_without_an_end_is_given_one(settings: Callable[..., Settings], server: ValkeyServer) -> None:
    made = settings()
    name = filled_once(made, server)
    with SemanticCache(made) as cache, server.client() as client:
        client.hset(lease(name), "of", "another program")
        cache.fill("a question", "a later answer")
        runtime = hashed(made)
        runtime.tick("interactive")
        assert 0 < client.pttl(lease(name)) <= LEASE_MS
        client.pexpire(lease(name), 1)
        drained(runtime, server)
    assert prompts_in(server, made.namespace) == {"a question": "a later answer"}


def test_a_lease_of_another_worker_ends_no_later_for_one_that_waits(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    name = filled_once(made, server)
    with SemanticCache(made) as cache, server.client() as client:
        client.set(lease(name), "another worker's", px=200)
        cache.fill("a question", "a later answer")
        runtime = hashed(made)
        runtime.tick("interactive")
        assert client.pttl(lease(name)) <= 200
        drained(runtime, server)
    assert prompts_in(server, made.namespace) == {"a question": "a later answer"}


def test_what_is_no_fill_among_those_that_wait_is_buried_and_holds_up_none(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    keys = LogKeys(made.namespace)
    runtime = hashed(made)
    with SemanticCache(made) as cache, server.client() as client:
        cache.fill("a question", "an answer")
        [(id_, fields)] = client.xrange(keys.log("interactive"))
        client.xdel(keys.log("interactive"), id_)
        client.zadd(keys.retry("interactive"), {b"%b|1|1|%b" % (id_, fields[FIELD]): 2})
        client.zadd(keys.retry("interactive"), {f"foreign {number}": 1 for number in range(1500)})
        drained(runtime, server)
    assert prompts_in(server, made.namespace) == {"a question": "an answer"}
    buried = letters(server, made.namespace)
    assert {letter.reason for letter in buried} == {"undecodable"}
    with server.client() as client:
        assert client.xlen(keys.dead) == 1500


def test_a_count_that_no_machine_holds_is_none(settings: Callable[..., Settings], server: ValkeyServer) -> None:
    made = settings()
    keys = LogKeys(made.namespace)
    runtime = hashed(made)
    with SemanticCache(made) as cache, server.client() as client:
        cache.fill("a question", "an answer")
        client.xadd(keys.log("interactive"), {FIELD: b"no fill", TRIES: b"9" * 5000, QUEUED: b"9" * 5000})
        drained(runtime, server)
    assert prompts_in(server, made.namespace) == {"a question": "an answer"}
    [letter] = letters(server, made.namespace)
    assert (letter.reason, letter.tries, letter.queued_ms) == ("undecodable", 0, 0)
