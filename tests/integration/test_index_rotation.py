"""A rotation, step by step on a real server: any worker takes over, two generations at most, no lookup fails."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.maintenance import Maintenance
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import Hit, Settings
from nearhit.domain.vectors import from_bytes
from nearhit.flow.steps import Flow, ReplyError, Send
from nearhit.index import rotation
from nearhit.index.rotation import Step, Wear
from nearhit.index.survey import survey
from nearhit.index.valkey_search import ValkeySearchEngine
from tests.conftest import MODULE
from tests.support.nodes import Driver, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from tests.support.faces import Face
    from tests.support.store import Store

pytestmark = [
    pytest.mark.search,
    pytest.mark.skipif(not MODULE, reason="no search module: set NEARHIT_TEST_SEARCH_MODULE"),
]

WEAR = Wear(least_dead=50, grace_seconds=0.2, pause_seconds=0.0)
QUESTION = "how do I restore a single file from a backup"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server of the test's own: dead vectors of others would count, and indexes are listed."""
    with ValkeyServer(tmp_path_factory.mktemp("rotation"), module=MODULE) as one:
        yield one


@pytest.fixture
def worn(store: Callable[..., Store]) -> Store:
    """A space with 20 living entries and 60 dead vectors."""
    one = store()
    one.add(QUESTION)
    for number in range(19):
        one.add(f"living entry {number}")
    dead = [one.add(f"dying entry {number}") for number in range(60)]
    one.take(dead)
    return one


@pytest.fixture
def driver(settings: Callable[..., Settings]) -> Iterator[Driver]:
    one = Driver(settings())
    yield one
    one.close()


def step(driver: Driver, store: Store, wear: Wear = WEAR) -> Step:
    """Take one step as a new worker would that knows nothing of what was before."""
    engine = ValkeySearchEngine(store.keys, store.space.dimension)
    seen = driver.run(survey(store.keys, engine.generation))
    chosen, about = rotation.decide(seen, wear)
    taken = driver.run(rotation.take(chosen, about, seen.current, engine, store.keys, wear))
    assert taken is (chosen not in {Step.NONE, Step.WAIT})
    return chosen


def names(client: redis.Redis, store: Store) -> list[str]:
    stem = store.keys.index(0)[:-1]
    listed: Any = client.execute_command("FT._LIST")
    return sorted(name.decode().removeprefix(stem) for name in listed)


def test_each_step_by_another_worker_ends_in_one_new_generation(
    worn: Store, driver: Driver, client: redis.Redis, face: Callable[..., Face]
) -> None:
    reader = face()
    assert reader.warm_up()
    steps = []
    end = time.monotonic() + 20
    while Step.DROP not in steps and time.monotonic() < end:
        steps.append(step(driver, worn))
        assert isinstance(reader.lookup(f"{QUESTION}, please"), Hit)
        assert len(names(client, worn)) <= 2
    assert list(dict.fromkeys(one for one in steps if one is not Step.WAIT)) == [Step.BUILD, Step.FLIP, Step.DROP]
    assert names(client, worn) == ["2"]
    assert client.get(worn.keys.generation) == b"2"
    assert step(driver, worn) is Step.NONE
    assert client.info("search")["search_index_reclaimable_memory"] == 0
    for _ in range(3):
        assert isinstance(reader.lookup(f"{QUESTION}, please"), Hit)


def test_a_reader_that_slept_through_a_whole_rotation_finds_the_new_generation_in_one_lookup(
    worn: Store, driver: Driver, client: redis.Redis, face: Callable[..., Face]
) -> None:
    reader = face()
    assert isinstance(reader.warm_up() and reader.lookup(f"{QUESTION}, please"), Hit)
    wait_until(lambda: step(driver, worn) is Step.DROP, 20, "the rotation")
    assert names(client, worn) == ["2"]
    assert isinstance(reader.lookup(f"{QUESTION}, please"), Hit)


def test_a_search_that_was_overtaken_by_a_rotation_and_by_another_thread_still_answers(
    worn: Store, driver: Driver, client: redis.Redis
) -> None:
    """Both threads share one engine: the other one has moved on before this one hears that its index is gone."""
    engine = ValkeySearchEngine(worn.keys, worn.space.dimension)
    entry = worn.entry(QUESTION)
    slow = engine.search(entry.scope, from_bytes(entry.embedding, worn.space.dimension), 4)
    first = next(slow)  # what it asks is fixed now, and on its way
    assert isinstance(first, Send)
    wait_until(lambda: step(driver, worn) is Step.DROP, 20, "the rotation")
    engine.generation = 2
    missing = ReplyError(f"Index with name '{worn.keys.index(1)}' not found in database 0")

    def goes_on() -> Flow[Any]:
        sent: Any = [missing, b"2", missing][: len(first.commands)]
        try:
            while True:
                sent = yield slow.send(sent)
        except StopIteration as stop:
            return stop.value

    found = driver.run(goes_on())
    assert found[0].key.decode() == worn.key(entry)


def test_a_lost_pointer_is_found_again_by_the_indexes_that_exist(
    worn: Store, driver: Driver, client: redis.Redis, face: Callable[..., Face]
) -> None:
    wait_until(lambda: step(driver, worn) is Step.DROP, 20, "the rotation")
    client.delete(worn.keys.generation)
    reader = face()
    assert reader.warm_up()
    assert isinstance(reader.lookup(f"{QUESTION}, please"), Hit)
    assert names(client, worn) == ["2"]
    assert step(driver, worn) is Step.NONE


def test_many_workers_at_once_take_each_step_once(
    worn: Store, settings: Callable[..., Settings], client: redis.Redis
) -> None:
    drivers = [Driver(settings()) for _ in range(6)]
    end = time.monotonic() + 20

    def work(driver: Driver) -> None:
        # the memory of a dropped index is given back a moment later, which without a pause looks like wear again
        care = Maintenance(driver.shell, driver.metrics, replace(WEAR, pause_seconds=60.0))
        space = replace(worn.space, engine=ValkeySearchEngine(worn.keys, worn.space.dimension))
        while names(client, worn) != ["2"] and time.monotonic() < end:
            space, _ = care.look(space)

    threads = [threading.Thread(target=work, args=(one,)) for one in drivers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("build", "flip", "drop"):
        assert sum(sample(one.metrics, "nearhit_rotations_total", step=name) for one in drivers) == 1
    assert names(client, worn) == ["2"]
    for one in drivers:
        one.close()


def test_a_late_worker_moves_no_reader_back_to_an_older_generation(
    worn: Store, driver: Driver, client: redis.Redis
) -> None:
    late = ValkeySearchEngine(worn.keys, worn.space.dimension)
    wait_until(lambda: step(driver, worn) is Step.DROP, 20, "the rotation")
    client.set(worn.keys.generation, 3)
    assert not driver.run(rotation.take(Step.FLIP, 2, 1, late, worn.keys, WEAR))
    assert client.get(worn.keys.generation) == b"3"


def test_entries_written_and_removed_during_a_rotation_are_in_the_new_generation_as_they_are(
    worn: Store, driver: Driver, face: Callable[..., Face]
) -> None:
    wait_until(lambda: step(driver, worn) is Step.BUILD, 20, "the wear to be seen")
    worn.add("a question that was asked while both existed")
    gone = worn.add("an answer that was withdrawn while both existed")
    worn.take([gone])
    wait_until(lambda: step(driver, worn) is Step.DROP, 20, "the rotation")
    reader = face()
    assert reader.warm_up()
    assert isinstance(reader.lookup("a question that was asked while both existed today"), Hit)
    assert not reader.lookup("an answer that was withdrawn while both existed today")
