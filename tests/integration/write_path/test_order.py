"""Order: the newest answer stays, whoever writes it and whenever."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from nearhit.entry import Entry, prompt_digest
from nearhit.keys import CacheKeys, lease
from nearhit.link import link_for
from nearhit.testing import HashEmbedder
from nearhit.upsert import WRITE_SECONDS, Stored, upsert
from nearhit.vectors import to_bytes
from tests.support.log import run
from worker.stack import ValkeyServer

if TYPE_CHECKING:
    pass

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
