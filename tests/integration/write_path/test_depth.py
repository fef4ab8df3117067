"""Depth and age of a lane: all that is neither stored nor given up, however often it was tried."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis

from nearhit import SemanticCache
from nearhit.flow.runner import run_sends
from nearhit.testing import HashEmbedder
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_for
from nearhit.write import fill_log
from tests.support.embedding_server import refusal, reply_to
from tests.support.log import drained, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.runtime import Runtime
    from nearhit_worker.stack import ValkeyServer

    from nearhit.write.fill_log import Depth, Logged
    from tests.support.embedding_server import EmbeddingServer

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")

LANE = "interactive"
LONG_AGO_MS = 5_000


@pytest.fixture
def keys(namespace: str, server: ValkeyServer) -> LogKeys:
    """Names of a log with one old fill, which failed and waits for its next try."""
    keys = LogKeys(namespace)
    run(server, fill_log.open_log(keys, LANE))
    run(server, fill_log.accept(keys, LANE, [b"one"], LONG_AGO_MS))
    put_off(server, keys, taken(server, keys))
    return keys


def taken(server: ValkeyServer, keys: LogKeys) -> Logged:
    """Take the one fill that there is to take."""
    [row] = run(server, fill_log.read(keys, LANE, "me", 10, last=True))
    one: fill_log.Logged = row
    return one


def put_off(server: ValkeyServer, keys: LogKeys, row: Logged) -> None:
    assert run(server, fill_log.retry_later(keys, LANE, [(row, 1, row.tries + 1)])) == 1


def tried_again(server: ValkeyServer, keys: LogKeys) -> Logged:
    """Put the fill back into the log and take it."""
    assert run(server, fill_log.promote(keys, LANE, 2, 10)) == 1
    return taken(server, keys)


def depth(server: ValkeyServer, keys: LogKeys) -> Depth:
    found: Depth = run(server, fill_log.depth(keys, LANE))
    return found


def test_a_fill_that_waits_for_its_next_try_is_in_depth_and_age(server: ValkeyServer, keys: LogKeys) -> None:
    assert depth(server, keys) == fill_log.Depth(fills=1, pending=0, retrying=1, oldest_ms=LONG_AGO_MS)


@pytest.mark.parametrize("tries", [1, 3])
def test_a_fill_that_is_tried_again_is_as_old_as_it_was(server: ValkeyServer, keys: LogKeys, tries: int) -> None:
    for _ in range(tries - 1):
        put_off(server, keys, tried_again(server, keys))
    tried_again(server, keys)
    run(server, fill_log.accept(keys, LANE, [b"a new one"], time.time_ns() // 1_000_000))
    assert depth(server, keys) == fill_log.Depth(fills=2, pending=1, retrying=0, oldest_ms=LONG_AGO_MS)


@pytest.mark.parametrize("protocol", [2, 3])
def test_both_protocols_tell_the_same_age(server: ValkeyServer, keys: LogKeys, protocol: int) -> None:
    with redis.Redis(host="127.0.0.1", port=server.port, protocol=protocol) as client:
        link = link_for(client)
        assert run_sends(fill_log.depth(keys, LANE), link, 5.0).oldest_ms == LONG_AGO_MS
        link.close()


@pytest.mark.parametrize("end", ["stored", "dead letter", "exchanged"])
def test_nothing_is_late_once_the_fill_is_done(server: ValkeyServer, keys: LogKeys, end: str) -> None:
    row = tried_again(server, keys)
    if end == "stored":
        run(server, fill_log.ack(keys, LANE, [row]))
    elif end == "dead letter":
        assert run(server, fill_log.dead_letter(keys, LANE, row, "poison", "")) == 1
    else:
        kept = fill_log.Kept(keys.verified, ("verdict", "true_hit"), 10, 60_000)
        assert run(server, fill_log.exchange(keys, LANE, row, kept)) == 1
    assert depth(server, keys) == fill_log.Depth(fills=0, pending=0, retrying=0, oldest_ms=None)
    with server.client() as client:
        assert not client.exists(keys.late(LANE))


def test_a_mark_that_outlived_its_fill_goes_once_the_lane_is_empty(server: ValkeyServer, keys: LogKeys) -> None:
    with server.client() as client:
        client.delete(keys.retry(LANE))
        run(server, fill_log.accept(keys, LANE, [b"another"], time.time_ns() // 1_000_000))
        run(server, fill_log.ack(keys, LANE, [taken(server, keys)]))
        assert client.zcard(keys.late(LANE)) == 1
        assert depth(server, keys).oldest_ms is None
        run(server, fill_log.promote(keys, LANE, 2, 10))
        assert not client.exists(keys.late(LANE))


def test_fills_that_the_embedder_refuses_are_in_every_gauge(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote()
    space = {"namespace": runtime.metrics.namespace, "lane": LANE}

    def told(name: str) -> float:
        value = runtime.metrics.registry.get_sample_value(f"nearhit_{name}", space)
        assert value is not None
        return value

    runtime.space()
    endpoint.behave = refusal(503)
    with SemanticCache(runtime.settings, embedder=HashEmbedder(64)) as cache:
        for number in range(200):
            cache.fill(f"question {number}", "an answer")
        began = time.monotonic()
        while time.monotonic() - began < 2:
            runtime.tick(LANE)
        runtime.observe()
        assert told("log_depth") == 200
        assert told("log_retrying") > 0
        assert told("log_age_seconds") >= 1.9
        endpoint.behave = reply_to
        drained(runtime, server)
    runtime.observe()
    assert [told(name) for name in ("log_depth", "log_retrying", "log_age_seconds")] == [0, 0, 0]
