"""Order: the newest answer stays, whoever writes it and whenever."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import Hit, SemanticCache
from nearhit.domain import fill_message
from nearhit.domain.entry import Entry, prompt_digest
from nearhit.domain.outcome import Stored
from nearhit.domain.question import read_question
from nearhit.domain.vectors import to_bytes
from nearhit.testing import HashEmbedder
from nearhit.valkey.key_names import CacheKeys, LogKeys, lease
from nearhit.valkey.link import link_for
from nearhit.write import fill_log
from nearhit.write.upsert import WRITE_SECONDS, upsert
from tests.support.log import drained, hashed, letters, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


EMBEDDER = "e" * 16


def an_entry(created_us: int, answer: str) -> Entry:
    now_ms = time.time_ns() // 1_000_000
    return Entry(
        scope="0" * 32,
        tenant="",
        prompt="a question",
        response=json.dumps(answer).encode(),
        embedding=to_bytes(HashEmbedder(64).embed(["a question"], 1).vectors[0]),
        embedder=EMBEDDER,
        created_us=created_us,
        fresh_until_ms=now_ms + 60_000,
        expires_ms=now_ms + 60_000,
    )


def stored_answer(server: ValkeyServer, keys: CacheKeys) -> Any:
    with server.client() as client:
        return json.loads(client.hget(keys.entry("0" * 32, prompt_digest("a question")), "response") or b"null")


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
def test_the_newest_answer_stays_in_whatever_order_they_come(
    server: ValkeyServer, namespace: str, order: tuple[int, ...]
) -> None:
    keys = CacheKeys(namespace, EMBEDDER)
    for created in order:
        run(server, upsert([an_entry(created, f"answer {created}")], keys))
    run(server, upsert([an_entry(n, f"answer {n}") for n in order], keys))
    assert stored_answer(server, keys) == "answer 3"


def test_a_writer_that_was_stopped_beyond_its_lease_writes_nothing_over_a_newer_answer(
    server: ValkeyServer, namespace: str
) -> None:
    keys = CacheKeys(namespace, EMBEDDER)
    now = 0.0
    link = link_for(server.client())
    stopped = upsert([an_entry(1, "older")], keys, clock=lambda: now)
    replies = link.send(next(stopped).commands, 5.0)  # type: ignore[union-attr]  # it holds the lease now, and stops
    assert run(server, upsert([an_entry(2, "newer")], keys)) == [Stored.BUSY]
    with server.client() as client:  # the lease runs out
        client.delete(lease(keys.entry("0" * 32, prompt_digest("a question"))))
    assert run(server, upsert([an_entry(2, "newer")], keys)) == [Stored.STORED]
    third = upsert([an_entry(3, "newest")], keys)
    third_replies = link.send(next(third).commands, 5.0)  # type: ignore[union-attr]  # a third one has the lease
    now = WRITE_SECONDS + 1
    step = stopped.send(replies)
    assert not any(command[0] == "HSET" for command in step.commands)  # type: ignore[union-attr]
    replies = link.send(step.commands, 5.0)  # type: ignore[union-attr]
    with pytest.raises(StopIteration) as end:
        stopped.send(replies)
    assert end.value.value == [Stored.BUSY]
    assert stored_answer(server, keys) == "newer"
    assert run(server, upsert([an_entry(4, "later")], keys)) == [Stored.BUSY]  # the third one's lease is untouched
    link.send(third.send(third_replies).commands, 5.0)  # type: ignore[union-attr]
    assert stored_answer(server, keys) == "newest"
    link.close()


def a_fill(created_us: int, answer: str) -> bytes:
    asked = read_question("a question", None)
    fill = fill_message.Fill(
        scope=asked.scope,
        prompt="a question",
        response=json.dumps(answer).encode(),
        created_us=created_us,
        ttl_ms=60_000,
        fresh_ms=60_000,
    )
    return fill_message.encode(fill)


def test_an_answer_from_a_clock_that_is_ahead_is_replaced_by_the_next_one(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made, now_us = settings(), time.time_ns() // 1000
    keys, runtime = LogKeys(made.namespace), hashed(made)
    tomorrow = a_fill(now_us + 86_400_000_000, "from tomorrow")
    run(server, fill_log.accept(keys, "interactive", [tomorrow], now_us // 1000))
    drained(runtime, server)
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        found = cache.lookup("a question")
        assert isinstance(found, Hit)
        assert found.answer == "from tomorrow"
        with server.client() as client:
            assert 0 < client.pttl(found.key) <= 60_000
        cache.fill("a question", "from today")
        drained(runtime, server)

        def newer() -> bool:
            there = cache.lookup("a question")
            return isinstance(there, Hit) and there.answer == "from today"

        wait_until(newer, 5, "the newer answer")
    runtime.close()


def test_a_log_server_whose_clock_is_behind_does_no_harm(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made, now_us = settings(), time.time_ns() // 1000
    keys, runtime = LogKeys(made.namespace), hashed(made)
    with server.client() as client:
        client.xadd(keys.log("interactive"), {"m": a_fill(now_us, "an answer"), "n": 0, "q": 1}, id="1-1")
    drained(runtime, server)
    assert not letters(server, made.namespace)
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        found = cache.lookup("a question")
        assert isinstance(found, Hit)
        assert found.age_seconds < 30
    runtime.close()
