"""What single flight hands over: nothing that was invalidated, has ended or is garbage."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import AsyncSemanticCache, SemanticCache
from nearhit.admin.invalidate import Selection
from nearhit.valkey.key_names import LogKeys
from tests.support.log import hashed

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


def flights(client: redis.Redis, made: Settings) -> dict[bytes, bytes]:
    found = {name: client.get(name) for name in client.scan_iter(f"nearhit:{{{made.namespace}}}:flight:*")}
    return {name: value for name, value in found.items() if isinstance(value, bytes)}


def landed(client: redis.Redis, made: Settings) -> bytes:
    """Return the key of the one answer that is handed over, once it is there."""
    wait_until(lambda: any(v.startswith(b"a:") for v in flights(client, made).values()), 5, "the answer is handed over")
    [name] = flights(client, made)
    return name


@pytest.mark.parametrize("how", ["caller", "asyncio", "worker"])
def test_an_answer_that_was_invalidated_is_handed_to_nobody(
    settings: Callable[..., Settings], server: ValkeyServer, how: str
) -> None:
    made = settings()
    with SemanticCache(made) as cache, server.client() as client:
        assert cache.warm_up()
        assert cache.get_or_create("a question", lambda: "of before") == "of before"
        landed(client, made)
        assert cache.get_or_create("a question", lambda: "asked again") == "of before"
        if how == "caller":
            cache.invalidate(everything=True)
        elif how == "asyncio":
            asyncio.run(invalidate(made))
        else:
            hashed(made).invalidate(Selection(by="namespace"), "0")
        assert cache.get_or_create("a question", lambda: "of after") == "of after"
        wait_until(lambda: b"of after" in next(iter(flights(client, made).values())), 5, "the new answer is there")
        assert cache.get_or_create("a question", lambda: "asked again") == "of after"
        assert client.ttl(LogKeys(made.namespace).invalidated) > 0


async def invalidate(made: Settings) -> None:
    async with AsyncSemanticCache(made) as cache:
        await cache.invalidate(everything=True)


def test_who_waits_while_entries_are_invalidated_asks_anew(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    go_on = threading.Event()
    with SemanticCache(made) as leader, SemanticCache(made) as waiter, server.client() as client:
        assert leader.warm_up()
        assert waiter.warm_up()
        answers: list[Any] = []

        def slowly() -> str:
            go_on.wait(10)
            return "of before"

        threads = [threading.Thread(target=lambda: answers.append(leader.get_or_create("a question", slowly)))]
        threads[0].start()
        wait_until(lambda: bool(flights(client, made)), 5, "the question is taken")
        threads.append(
            threading.Thread(target=lambda: answers.append(waiter.get_or_create("a question", lambda: "of after")))
        )
        threads[1].start()
        leader.invalidate(everything=True)
        go_on.set()
        for thread in threads:
            thread.join(10)
    assert sorted(answers) == ["of after", "of before"]


@pytest.mark.parametrize("by_setting", [True, False])
def test_an_answer_is_handed_over_no_longer_than_its_entry_lives(
    settings: Callable[..., Settings], server: ValkeyServer, by_setting: bool
) -> None:
    made = settings(ttl_seconds=2 if by_setting else 600)
    options: Any = {} if by_setting else {"ttl_seconds": 2}
    with SemanticCache(made) as cache, server.client() as client:
        assert cache.warm_up()
        cache.get_or_create("a question", lambda: "of before", **options)
        assert 0 < client.pttl(landed(client, made)) <= 2_000
        wait_until(lambda: not flights(client, made), 10, "its life is over")
        assert cache.get_or_create("a question", lambda: "of after", **options) == "of after"


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"a:", b"a:{", b"a::NaN]", b'a:x:"y"', b"q:1", "a list"])
def test_garbage_where_an_answer_is_handed_over_is_counted_and_makes_way(
    settings: Callable[..., Settings], server: ValkeyServer, garbage: bytes | str
) -> None:
    made = settings()
    with SemanticCache(made) as cache, server.client() as client:
        assert cache.warm_up()
        cache.get_or_create("a question", lambda: "an answer")
        name = landed(client, made)
        client.delete(name)
        if isinstance(garbage, str):
            client.rpush(name, garbage)
        else:
            client.set(name, garbage)
        started = time.monotonic()
        assert cache.get_or_create("a question", lambda: "another answer") == "another answer"
        assert time.monotonic() - started < 2
        wait_until(lambda: b"another answer" in (client.get(name) or b""), 5, "the answer took its place")
        assert 0 < client.pttl(name) <= 10_000


def test_a_lease_without_an_end_ends(settings: Callable[..., Settings], server: ValkeyServer) -> None:
    made = settings(single_flight_ms=200)
    with SemanticCache(made) as cache, server.client() as client:
        assert cache.warm_up()
        cache.get_or_create("a question", lambda: "an answer")
        name = landed(client, made)
        client.set(name, b"l:of another program")
        assert cache.get_or_create("a question", lambda: "another answer") == "another answer"
        assert 0 < client.pttl(name) <= 10_000


def test_a_log_server_that_hangs_costs_one_caller_a_moment(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=20)
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        cache.get_or_create("first", lambda: "an answer")
        assert own_server.child is not None
        os.kill(own_server.child.process.pid, signal.SIGSTOP)
        started = time.monotonic()
        times = []
        for number in range(20):
            before = time.monotonic()
            assert cache.get_or_create(f"question {number}", lambda: "an answer") == "an answer"
            times.append(time.monotonic() - before)
        whole = time.monotonic() - started
        os.kill(own_server.child.process.pid, signal.SIGCONT)
    assert sorted(times)[-3] < 0.3  # one for the flight, one for the fill, and what a busy machine adds
    assert whole < 3.0  # 20 s at a second each
