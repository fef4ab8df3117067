"""The valkey-search engine on a real server with the real module: made once, verified, never wrong in silence."""

from __future__ import annotations

import multiprocessing
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nearhit_worker.maintenance import Maintenance
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import Hit, IndexMismatchError, Miss, MissReason
from nearhit.domain.vectors import unit_rows
from nearhit.index.rotation import Step, Wear, decide
from nearhit.index.survey import survey
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit.valkey.key_names import CacheKeys
from nearhit.write.searchability_probe import ProbeResult, look_for
from tests.conftest import MODULE
from tests.support.nodes import Driver, sample
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from nearhit import Settings
    from tests.support.faces import Face

pytestmark = pytest.mark.search

QUESTION = "how do I restore a single file from a backup"


@pytest.fixture
def server(search_server: ValkeyServer) -> ValkeyServer:
    return search_server


@pytest.fixture
def driver(settings: Callable[..., Settings]) -> Iterator[Driver]:
    one = Driver(settings())
    yield one
    one.close()


def _prepare(settings: Settings, namespace: str) -> bool:
    driver = Driver(settings)
    try:
        return bool(driver.run(ValkeySearchEngine(CacheKeys(namespace, "0" * 12), 64).prepare()))
    finally:
        driver.close()


def test_many_processes_at_once_make_one_index(settings: Callable[..., Settings], namespace: str) -> None:
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        made = pool.starmap(_prepare, [(settings(), namespace)] * 24, chunksize=1)
    assert made.count(True) == 1


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (("PREFIX", "HNSW", "COSINE", 32), "dimension: wanted 64, the index has 32"),
        (("PREFIX", "HNSW", "L2", 64), "metric: wanted 'COSINE', the index has 'L2'"),
        (("PREFIX", "FLAT", "COSINE", 64), "algorithm: wanted 'HNSW', the index has 'FLAT'"),
        (("other:", "HNSW", "COSINE", 64), "prefix: wanted 'nearhit:"),
    ],
)
def test_an_index_of_another_shape_is_refused_with_both_sides_and_the_way_out(
    driver: Driver,
    client: redis.Redis,
    namespace: str,
    face: Callable[..., Face],
    store: Callable[..., Store],
    there: tuple[str, str, str, int],
    said: str,
) -> None:
    keys = store().keys
    client.execute_command("FT.DROPINDEX", keys.index(1))
    prefix, algorithm, metric, dimension = there
    prefix = keys.prefix if prefix == "PREFIX" else prefix
    vector = ("VECTOR", algorithm, 6, "TYPE", "FLOAT32", "DIM", dimension, "DISTANCE_METRIC", metric)
    schema = ("SCHEMA", "scope", "TAG", "embedding", *vector)
    client.execute_command("FT.CREATE", keys.index(1), "ON", "HASH", "PREFIX", 1, prefix, *schema)
    with pytest.raises(IndexMismatchError) as caught:
        driver.run(ValkeySearchEngine(keys, 64).prepare())
    assert said in str(caught.value)
    assert "FT.DROPINDEX" in str(caught.value)
    late = face()
    assert not late.warm_up(0.5)
    outcome = late.lookup(QUESTION)
    assert isinstance(outcome, Miss)
    assert outcome.reason is MissReason.MISCONFIGURED
    assert said in outcome.detail
    client.execute_command("FT.DROPINDEX", keys.index(1))


def test_a_neighbour_that_has_expired_lets_the_next_one_answer(
    store: Callable[..., Store], face: Callable[..., Face]
) -> None:
    one = store()
    one.add(f"{QUESTION} today", "the nearest", ttl_seconds=0.4)
    one.add(f"{QUESTION} then", "the next")
    reader = face()
    assert reader.warm_up()

    def answer() -> Any:
        outcome = reader.lookup(f"{QUESTION} today please")
        return outcome.answer if isinstance(outcome, Hit) else None

    assert answer() == "the nearest"
    wait_until(lambda: answer() != "the nearest", 5, "the end of the nearest")
    assert answer() == "the next"


@pytest.mark.parametrize("megabytes", [2, 7])
def test_answers_too_large_for_a_search_record_are_served_by_key(
    store: Callable[..., Store], face: Callable[..., Face], megabytes: int
) -> None:
    one = store()
    for number in range(4):
        one.add(f"{QUESTION} number {number}", f"{number}" * (megabytes * 1024 * 1024))
    reader = face(deadline_ms=10_000)
    outcome = reader.lookup(f"{QUESTION} number 3 please")
    assert isinstance(outcome, Hit)
    assert outcome.tier == "semantic"
    assert outcome.answer == "3" * (megabytes * 1024 * 1024)


def test_similarities_stay_within_their_bounds_and_agree_with_numpy(store: Callable[..., Store]) -> None:
    one = store()
    vectors = unit_rows(np.random.default_rng(4).standard_normal((200, 64)))
    entries = [one.entry(f"entry {number}", vector=vector) for number, vector in enumerate(vectors)]
    one.put(*entries)
    for number, vector in enumerate(vectors):
        near = one.run(one.space.engine.search(entries[0].scope, vector, 4))
        assert near[0].key.decode() == one.key(entries[number])
        assert all(-1.0 <= found.similarity <= 1.0 for found in near)
        truth = np.sort(vectors @ vector)[::-1][: len(near)]
        assert [found.similarity for found in near] == pytest.approx(list(truth), abs=1e-5)


def test_a_vector_of_another_size_is_noticed_and_counted(
    store: Callable[..., Store], driver: Driver, client: redis.Redis
) -> None:
    one = store()
    good = one.entry("a good entry")
    one.put(good)
    assert one.run(look_for(good, one.space)) is ProbeResult.FOUND
    client.hset(one.key(good), "embedding", struct.pack("<3f", 1, 2, 3))
    assert one.run(look_for(good, one.space)) is ProbeResult.MISSING
    key = f"{one.keys.prefix}{'0' * 32}:{'1' * 32}"
    client.hset(key, mapping={"scope": "0" * 32, "embedding": b"short"})
    client.expire(key, 60)
    Maintenance(driver.shell, driver.metrics).look(one.space)
    assert sample(driver.metrics, "nearhit_index_failures") >= 1
    one.take([one.key(good)])
    assert one.run(look_for(good, one.space)) is ProbeResult.GONE


def test_a_worker_looks_for_what_it_has_written(settings: Callable[..., Settings], face: Callable[..., Face]) -> None:
    reader = face()
    runtime = Runtime(settings(), reader.metrics)
    for number in range(3):
        reader.fill(f"question {number}", "an answer")
        runtime.drain("interactive")
    found = sample(reader.metrics, "nearhit_write_verifications_total", outcome="found")
    assert 1 <= found <= 3
    assert sample(reader.metrics, "nearhit_write_verifications_total", outcome="missing") == 0
    runtime.close()


@pytest.mark.skipif(not MODULE, reason="no search module: set NEARHIT_TEST_SEARCH_MODULE")
def test_entries_that_a_worn_graph_refuses_are_noticed_and_found_again_after_a_rotation(
    tmp_path_factory: pytest.TempPathFactory, namespace: str, settings: Callable[..., Settings]
) -> None:
    """Graphs of 1.2.1 refuse a vector all of whose near ones are dead; nothing is raised, nothing in FT.INFO counts."""
    with ValkeyServer(tmp_path_factory.mktemp("worn"), module=MODULE) as node:
        store, driver = Store(settings(url=node.url)), Driver(settings(url=node.url))
        random = np.random.default_rng(0)
        entries: list[Any] = []
        wear = Wear(least_dead=1_000_000, grace_seconds=0.05, pause_seconds=0)
        for _ in range(12):
            store.take([store.key(one) for one in entries])
            rows = unit_rows(random.standard_normal((2_000, 64)))
            entries = [store.entry(f"entry {at}", vector=row, ttl_seconds=600) for at, row in enumerate(rows)]
            for start in range(0, len(entries), 500):
                store.put(*entries[start : start + 500])
            seen = driver.run(survey(store.keys, 1))
            if seen.generations[1].skipped:
                break
        else:
            pytest.skip("no such resource: a server whose worn graph refuses vectors; this one took all of them")
        assert seen.generations[1].info.indexing_failures == 0
        assert decide(seen, wear) == (Step.BUILD, 2)
        care = Maintenance(driver.shell, driver.metrics, wear)
        end = time.monotonic() + 30
        while not sample(driver.metrics, "nearhit_rotations_total", step="drop") and time.monotonic() < end:
            care.look(store.space)
        assert driver.run(survey(store.keys, 1)).generations[2].skipped == 0
        store.close()
        driver.close()
