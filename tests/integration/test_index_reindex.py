"""A change of the embedding model on real servers: the living entries are taken over, and nothing is ever cold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import Stack, wait_until

from nearhit import Hit, Metrics, Miss, Usage
from nearhit.admin.reindex import ReindexProgress
from nearhit.admin.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from nearhit import Settings
    from tests.support.faces import Face
    from tests.support.store import Store

OLD, NEW = "hash/64", "hash/128"
COUNT = 450


@pytest.fixture
def old(store: Callable[..., Store]) -> Store:
    """Entries of the old model: with tenant, usage and refresh, one large, one about to end."""
    one = store(model=OLD)
    one.put(*(one.entry(f"question {number}", f"answer {number}", ttl_seconds=600) for number in range(COUNT)))
    usage = Usage(3, 4, 0.5, "m")
    one.add("a rich question", {"a": 1}, tenant="0" * 32, usage=usage, refresh=b'{"model":"m"}', ttl_seconds=600)
    one.add("a large question", "x" * (2 * 1024 * 1024), ttl_seconds=600)
    return one


@pytest.fixture
def site(settings: Callable[..., Settings]) -> Iterator[Session]:
    with Session(settings(model=NEW)) as one:
        yield one


@pytest.fixture
def runtime(settings: Callable[..., Settings]) -> Iterator[Runtime]:
    """The write path of a worker that has the new model."""
    one = Runtime(settings(model=NEW), Metrics(namespace=settings().namespace))
    yield one
    one.close()


def count(client: redis.Redis, prefix: str) -> int:
    return sum(1 for _ in client.scan_iter(f"{prefix}*", count=1000))


def test_another_model_opens_its_own_index_and_never_mixes(
    old: Store, face: Callable[..., Face], client: redis.Redis
) -> None:
    new = face(model=NEW)
    assert new.warm_up()
    outcome = new.lookup("question 7")
    assert isinstance(outcome, Miss)
    assert outcome.nearest is None
    before = face(model=OLD)
    assert before.warm_up()
    assert isinstance(before.lookup("question 7"), Hit)


def test_living_entries_are_taken_over_as_they_are_and_then_the_old_ones_go(
    old: Store, site: Session, runtime: Runtime, face: Callable[..., Face], client: redis.Redis
) -> None:
    (other,) = site.other_embedders()
    assert (other.id, other.model) == (old.keys.embedder, OLD)
    job = site.reindex(other.id)
    ends = client.pexpiretime(f"{old.keys.prefix}{old.key(old.entry('question 7')).removeprefix(old.keys.prefix)}")
    done = ReindexProgress()
    while not done.finished:
        done = job.queue_page(done)
    assert (done.queued, done.unreadable) == (COUNT + 2, 0)
    assert job.compare().missing == COUNT + 2
    assert runtime.drain("bulk") == COUNT + 2
    outcome = job.run(wait_seconds=20)
    assert outcome.whole
    assert outcome.dropped == COUNT + 2
    assert count(client, old.keys.prefix) == 0
    assert count(client, site.space.keys.prefix) == COUNT + 2
    assert site.other_embedders() == []
    assert (
        client.pexpiretime(site.space.keys.prefix + old.key(old.entry("question 7")).removeprefix(old.keys.prefix))
        == ends
    )
    if site.space.engine.name == "valkey-search":
        names = [name.decode() for name in client.execute_command("FT._LIST")]
        assert not [name for name in names if old.keys.embedder in name and old.keys.namespace in name]
    reader = face(model=NEW)
    assert reader.warm_up()
    hit = reader.lookup("question 7")
    assert isinstance(hit, Hit)
    assert hit.answer == "answer 7"
    wait_until(lambda: bool(reader.lookup("a question 7")), 5, "the entry by its meaning")
    rich = reader.lookup("a rich question")
    assert isinstance(rich, Hit)
    assert (rich.answer, rich.usage) == ({"a": 1}, Usage(3, 4, 0.5, "m"))
    large = reader.lookup("a large question")
    assert isinstance(large, Hit)
    assert len(large.answer) == 2 * 1024 * 1024


def test_an_interrupted_run_goes_on_where_it_was(
    old: Store, site: Session, runtime: Runtime, client: redis.Redis
) -> None:
    first = site.reindex(old.keys.embedder)
    done = first.queue_page(first.begin())
    assert not done.finished
    assert 0 < client.pttl(old.keys.reindexed) <= 7 * 86_400_000
    second = site.reindex(old.keys.embedder)
    again = second.begin()
    assert again.resumed
    assert (again.cursor, again.queued) == (done.cursor, done.queued)
    while not again.finished:
        again = second.queue_page(again)
    assert again.queued >= COUNT + 2
    assert client.exists(old.keys.reindexed) == 0
    runtime.drain("bulk")
    assert second.compare().missing == 0


def test_what_is_not_searchable_yet_keeps_the_old_entries(old: Store, site: Session, client: redis.Redis) -> None:
    outcome = site.reindex(old.keys.embedder).run(wait_seconds=0.2)
    assert not outcome.whole
    assert outcome.compared.missing == COUNT + 2
    assert outcome.dropped == 0
    assert count(client, old.keys.prefix) == COUNT + 2


def test_an_answer_that_is_newer_in_the_new_index_is_left_alone(
    old: Store, site: Session, runtime: Runtime, store: Callable[..., Store], face: Callable[..., Face]
) -> None:
    store(model=NEW).add("question 7", "a newer answer", ttl_seconds=600)
    job = site.reindex(old.keys.embedder)
    done = job.begin()
    while not done.finished:
        done = job.queue_page(done)
    runtime.drain("bulk")
    assert job.run(wait_seconds=10).whole
    hit = face(model=NEW).lookup("question 7")
    assert isinstance(hit, Hit)
    assert hit.answer == "a newer answer"


def test_an_entry_that_has_ended_meanwhile_is_not_missed(
    store: Callable[..., Store], site: Session, runtime: Runtime
) -> None:
    one = store(model=OLD)
    one.add("a question that ends", ttl_seconds=0.3)
    job = site.reindex(one.keys.embedder)
    wait_until(lambda: job.compare().living == 0, 5, "the end of the entry")
    outcome = job.run(wait_seconds=5)
    assert outcome.whole
    assert outcome.progress.queued == 0


def test_a_worker_process_takes_over_while_readers_of_both_models_go_on(
    namespace: str, store: Callable[..., Store], settings: Callable[..., Settings], face: Callable[..., Face]
) -> None:
    variables = {
        "NEARHIT_NAMESPACE": namespace,
        "NEARHIT_MODEL": NEW,
        "NEARHIT_THRESHOLD": "0.8",
        "NEARHIT_ENGINE": "local",
    }
    with Stack(variables) as stack:
        one = store(url=stack.server.url, model=OLD)
        one.put(*(one.entry(f"question {number}", ttl_seconds=600) for number in range(300)))
        reader = face(url=stack.server.url, model=OLD)
        assert isinstance(reader.lookup("question 7"), Hit)
        with Session(settings(url=stack.server.url, model=NEW)) as site:
            started = time.monotonic()
            outcome = site.reindex(one.keys.embedder).run(wait_seconds=30, keep_old=True)
            assert outcome.whole
            assert isinstance(reader.lookup("question 7"), Hit)
            assert isinstance(face(url=stack.server.url, model=NEW).lookup("question 7"), Hit)
            assert site.reindex(one.keys.embedder).run(wait_seconds=5).dropped == 300
            assert time.monotonic() - started < 60
