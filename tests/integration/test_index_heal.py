"""The index heals itself: whatever takes it on a real server, it is made again and searches find what still exists."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import Stack, ValkeyServer, wait_until

from nearhit import Hit, Metrics, Miss, MissReason, Settings
from tests.conftest import MODULE
from tests.support.faces import KINDS, Face
from tests.support.nodes import sample
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.search,
    pytest.mark.skipif(not MODULE, reason="no search module: set NEARHIT_TEST_SEARCH_MODULE"),
]

HEAL_SECONDS = 5.0
QUESTION = "how do I restore a single file from a backup"
NEAR = "how do I restore one single file from a backup"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own, which it may empty, drop and restart."""
    with ValkeyServer(tmp_path / "node", module=MODULE) as one:
        yield one


@pytest.fixture
def settings(node: ValkeyServer, namespace: str) -> Callable[..., Settings]:
    def make(**changes: object) -> Settings:
        values: dict[str, object] = {
            "threshold": 0.8,
            "url": node.url,
            "namespace": namespace,
            "model": "hash/64",
            "guard": False,
            "deadline_ms": 2_000,
            **changes,
        }
        return Settings.from_env({}, **values)

    return make


@pytest.fixture(params=KINDS)
def face(request: pytest.FixtureRequest, settings: Callable[..., Settings]) -> Iterator[Face]:
    with Face(request.param, settings()) as one:
        assert one.warm_up()
        yield one


def heals(face: Face, reason: str) -> float:
    return sample(face.metrics, "nearhit_index_heals_total", reason=reason)


def has_loaded(node: ValkeyServer) -> bool:
    try:
        with node.client() as client:
            return bool(client.info("persistence")["loading"] == 0)
    except redis.RedisError:
        return False


def looks_until(face: Face, true: Callable[[Hit | Miss], bool]) -> Hit | Miss:
    """Look up until the outcome is as wanted, without ever waiting longer than a heal may take.

    A lookup also lets the asyncio twin's own opening go on: its loop runs only while a call is under way.
    """
    end = time.monotonic() + HEAL_SECONDS
    while time.monotonic() < end:
        outcome = face.lookup(NEAR)
        if true(outcome):
            return outcome
        assert isinstance(outcome, Hit) or outcome.reason in {
            MissReason.INDEX_LOST,
            MissReason.WARMING,
            MissReason.EMPTY,
            MissReason.UNAVAILABLE,
        }
        time.sleep(0.01)
    pytest.fail(f"not healed within {HEAL_SECONDS} s")


def test_a_dropped_index_is_made_again_and_finds_what_still_exists(
    face: Face, node: ValkeyServer, settings: Callable[..., Settings]
) -> None:
    store = Store(settings())
    store.add(QUESTION)
    assert isinstance(face.lookup(NEAR), Hit)
    node.client().execute_command("FT.DROPINDEX", store.space.engine.index)
    first = face.lookup(NEAR)
    assert isinstance(first, Miss)
    assert first.reason is MissReason.INDEX_LOST
    looks_until(face, lambda outcome: isinstance(outcome, Hit))
    looks_until(face, lambda _: heals(face, "dropped") == 1)
    store.close()


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_a_flushed_index_is_made_again_and_takes_new_entries(
    face: Face, node: ValkeyServer, settings: Callable[..., Settings], command: str
) -> None:
    node.client().execute_command(command)
    first = face.lookup(NEAR)
    assert isinstance(first, Miss)
    assert first.reason is MissReason.INDEX_LOST
    looks_until(face, lambda outcome: isinstance(outcome, Miss) and outcome.reason is MissReason.EMPTY)
    store = Store(settings())
    store.add(QUESTION)
    looks_until(face, lambda outcome: isinstance(outcome, Hit))
    looks_until(face, lambda _: heals(face, "flushed") == 1)
    store.close()


def test_an_empty_primary_on_the_same_port_gets_its_index(
    face: Face, node: ValkeyServer, settings: Callable[..., Settings]
) -> None:
    node.kill()
    outcome = face.lookup(NEAR)
    assert isinstance(outcome, Miss)
    assert outcome.reason is MissReason.UNAVAILABLE
    node.start()
    looks_until(face, lambda outcome: isinstance(outcome, Miss) and outcome.reason is MissReason.EMPTY)
    looks_until(face, lambda _: heals(face, "new_primary") == 1)
    store = Store(settings())
    store.add(QUESTION)
    looks_until(face, lambda outcome: isinstance(outcome, Hit))
    store.close()


def test_lookups_while_a_restarted_server_backfills_are_hits_or_named_warming(tmp_path: Path, namespace: str) -> None:
    with ValkeyServer(tmp_path / "durable", module=MODULE, durable=True) as node:

        def settings() -> Settings:
            values: dict[str, Any] = {"url": node.url, "namespace": namespace, "model": "hash/512", "guard": False}
            return Settings.from_env({}, threshold=0.8, deadline_ms=5_000, **values)

        store = Store(settings())
        entries = [
            store.entry(f"{QUESTION} number {number} of {number * 7}", ttl_seconds=600) for number in range(6_000)
        ]
        for start in range(0, len(entries), 500):
            store.put(*entries[start : start + 500])
        store.close()
        with Face("sync", settings()) as face:
            assert face.warm_up()
            metrics = Metrics(namespace=namespace)
            runtime = Runtime(settings(), metrics)
            assert not runtime.check_index()
            node.stop()
            face.lookup("the server is away now")
            node.start()
            wait_until(lambda: has_loaded(node), 60, "the end of the load")
            assert not runtime.check_index()
            assert sample(metrics, "nearhit_index_heals_total", reason="backfilling") == 1
            runtime.close()
            reasons = set()

            def finds() -> bool:
                outcome = face.lookup("something else that nobody has ever asked here")
                assert isinstance(outcome, Miss)
                reasons.add(outcome.reason)
                return outcome.reason in {MissReason.BELOW_THRESHOLD, MissReason.EMPTY}

            wait_until(finds, 60, "the end of the backfill")
            assert MissReason.WARMING in reasons
            assert reasons <= {
                *(MissReason.WARMING, MissReason.UNAVAILABLE, MissReason.BELOW_THRESHOLD, MissReason.EMPTY),
            }
            number = 5_999
            assert isinstance(face.lookup(f"{QUESTION} number {number} of {number * 7}, please"), Hit)


def test_a_worker_alone_makes_a_lost_index_again(settings: Callable[..., Settings], node: ValkeyServer) -> None:
    with Stack(
        {
            "NEARHIT_NAMESPACE": settings().namespace,
            "NEARHIT_MODEL": "hash/64",
            "NEARHIT_THRESHOLD": "0.8",
            "NEARHIT_ENGINE": "valkey-search",
        },
        module=MODULE,
    ) as stack:
        client = stack.server.client()
        wait_until(lambda: len(client.execute_command("FT._LIST")) == 1, 20, "the worker's index")
        name = client.execute_command("FT._LIST")[0]
        client.execute_command("FT.DROPINDEX", name)
        wait_until(lambda: client.execute_command("FT._LIST") == [name], HEAL_SECONDS, "the index to be made again")
        client.flushall()
        wait_until(lambda: client.execute_command("FT._LIST") == [name], HEAL_SECONDS, "the index to be made again")
        client.close()


def test_a_worker_counts_each_loss_by_its_reason(settings: Callable[..., Settings], node: ValkeyServer) -> None:
    metrics = Metrics(namespace=settings().namespace)
    runtime = Runtime(settings(), metrics)

    def count(reason: str) -> float:
        return sample(metrics, "nearhit_index_heals_total", reason=reason)

    assert not runtime.check_index()
    client = node.client()
    client.execute_command("FT.DROPINDEX", client.execute_command("FT._LIST")[0])
    assert runtime.check_index()
    assert count("dropped") == 1
    client.flushall()
    assert runtime.check_index()
    assert count("flushed") == 1
    assert client.hlen(f"nearhit:{settings().namespace}:embedders") == 1
    client.close()
    node.kill()
    node.start()
    assert runtime.check_index()
    assert count("new_primary") == 1
    assert not runtime.check_index()
    runtime.close()


@pytest.mark.parametrize("engine", ["local", "valkey-search"])
def test_a_worker_writes_a_flushed_registry_of_embedders_down_again(
    settings: Callable[..., Settings], node: ValkeyServer, engine: str
) -> None:
    runtime = Runtime(settings(engine=engine), Metrics(namespace=settings().namespace))
    assert not runtime.check_index()
    with node.client() as client:
        client.flushall()
        assert runtime.check_index()
        assert client.hlen(f"nearhit:{settings().namespace}:embedders") == 1
    assert not runtime.check_index()
    runtime.close()
