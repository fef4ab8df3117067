"""Invalidation on real servers, for both engines and both twins: what must go goes, and nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import Stack, wait_until

from nearhit import ConfigError, ContractError, Hit, Invalidated, Metrics, StoreUnavailableError
from nearhit.admin.invalidate import Selection, select
from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from tests.support.nodes import sample

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from nearhit import Settings
    from tests.support.faces import Face
    from tests.support.store import Store

ACME = {"tenant": "acme", "model": "small"}
ACME_LARGE = {"tenant": "acme", "model": "large"}
OTHER = {"tenant": "other", "model": "small"}
OLD_SECONDS = 3_600


@pytest.fixture
def full(store: Callable[..., Store]) -> Store:
    """Ten entries: three of acme's small model, two of its large one, four of another tenant, one old of nobody."""
    one = store()
    for scope, count in ((ACME, 3), (ACME_LARGE, 2), (OTHER, 4)):
        for number in range(count):
            one.add(f"question {number}", scope=scope, tenant=tenant_digest(scope["tenant"]), ttl_seconds=600)
    long_ago = (time.time_ns() // 1_000) - OLD_SECONDS * 1_000_000
    one.add("an old question", created_us=long_ago, ttl_seconds=600)
    return one


def left(client: redis.Redis, store: Store) -> int:
    return sum(1 for _ in client.scan_iter(f"{store.keys.prefix}*", count=1000))


def invalidate(face: Face, **which: Any) -> Invalidated:
    done: Invalidated = face.run(face.cache.invalidate(**which))
    return done


@pytest.mark.parametrize(
    ("which", "count", "by"),
    [
        ({"prompt": "question 1", "scope": ACME}, 1, "entry"),
        ({"prompt": "an old question"}, 1, "entry"),
        ({"prompt": "question 9", "scope": ACME}, 0, "entry"),
        ({"scope": ACME}, 3, "scope"),
        ({"tenant": "acme"}, 5, "tenant"),
        ({"tenant": "acm"}, 0, "tenant"),
        ({"older_than_seconds": OLD_SECONDS / 2}, 1, "age"),
        ({"older_than_seconds": OLD_SECONDS * 2}, 0, "age"),
        ({"tenant": "other", "older_than_seconds": 0}, 4, "tenant"),
        ({"scope": OTHER, "tenant": "acme"}, 0, "scope"),
        ({"embedder": "0123456789ab"}, 0, "embedder"),
        ({"everything": True}, 10, "namespace"),
    ],
)
def test_exactly_what_is_selected_goes_and_is_counted(
    full: Store, face: Callable[..., Face], client: redis.Redis, which: dict[str, Any], count: int, by: str
) -> None:
    cache = face()
    dry = invalidate(cache, dry_run=True, **which)
    assert (dry.matched, dry.removed) == (count, 0)
    assert left(client, full) == 10
    done = invalidate(cache, **which)
    assert (done.matched, done.removed, done.finished, done.queued) == (count, count, True, False)
    assert left(client, full) == 10 - count
    assert sample(cache.metrics, "nearhit_invalidated_entries_total", by=by) == count
    assert invalidate(cache, **which).removed == 0


def test_an_embedder_s_entries_go_by_its_fingerprint(
    full: Store, face: Callable[..., Face], client: redis.Redis
) -> None:
    assert invalidate(face(), embedder=full.keys.embedder).removed == 10
    assert left(client, full) == 0


def test_readers_no_longer_find_what_was_removed(full: Store, face: Callable[..., Face]) -> None:
    reader = face()
    assert reader.warm_up()
    wait_until(lambda: isinstance(reader.lookup("question 2", ACME), Hit), 5, "the entry")
    wait_until(lambda: isinstance(reader.lookup("a question 2", ACME), Hit), 5, "the entry, by its meaning")
    invalidate(face(), tenant="acme")
    wait_until(lambda: not reader.lookup("question 2", ACME), 5, "the entry to be gone")
    wait_until(lambda: not reader.lookup("a question 2", ACME), 5, "the entry to be gone by its meaning")
    assert isinstance(reader.lookup("question 2", OTHER), Hit)


def test_another_namespace_is_left_alone(
    full: Store, face: Callable[..., Face], client: redis.Redis, namespace: str
) -> None:
    near = face(namespace=f"{namespace}.b")
    assert invalidate(near, everything=True).matched == 0
    assert left(client, full) == 10


def test_more_entries_than_a_page_holds_go_page_by_page(
    store: Callable[..., Store], face: Callable[..., Face], client: redis.Redis
) -> None:
    one = store()
    one.put(*(one.entry(f"question {number}", ttl_seconds=600) for number in range(1_500)))
    assert invalidate(face(), everything=True).removed == 1_500
    assert left(client, one) == 0


@pytest.mark.parametrize(
    "which",
    [
        {},
        {"everything": False},
        {"tenant": ""},
        {"older_than_seconds": -1},
        {"older_than_seconds": float("nan")},
        {"embedder": "*"},
        {"namespace": "all"},
    ],
)
def test_a_selection_that_says_nothing_or_nonsense_is_refused(face: Callable[..., Face], which: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        invalidate(face(), **which)


def test_a_prompt_that_cannot_be_cached_is_refused(face: Callable[..., Face]) -> None:
    with pytest.raises(ContractError):
        invalidate(face(), prompt="  ")


def test_a_server_that_does_not_answer_is_named(face: Callable[..., Face]) -> None:
    with pytest.raises(StoreUnavailableError):
        invalidate(face(url="valkey://127.0.0.1:1"), everything=True)


def test_a_message_holds_digests_alone_and_comes_back_as_it_went() -> None:
    went = select({"prompt": "a secret question", "scope": ACME, "older_than_seconds": 5})
    assert "secret" not in repr(went.to_message())
    assert went.scope == scope_digest(Scope.of(ACME))
    assert Selection.from_message(went.to_message()) == went


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"by": "scope", "scope": "*"},
        {"by": "entry", "text": "ABC"},
        {"by": "tenant", "tenant": 5},
        {"by": "embedder", "embedder": "?"},
        {"by": "age", "before_us": "now"},
        {"by": "age", "unknown": 1},
    ],
)
def test_a_message_of_another_shape_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        Selection.from_message(row)


def test_a_worker_goes_on_where_a_slice_ended(
    full: Store, settings: Callable[..., Settings], client: redis.Redis
) -> None:
    runtime = Runtime(settings(), Metrics(namespace=settings().namespace))
    selection = select({"everything": True})
    done = runtime.invalidate(selection, "0")
    while not done.finished:
        done = runtime.invalidate(selection, done.cursor)
    assert left(client, full) == 0
    runtime.close()


def test_a_worker_process_does_a_queued_one(
    namespace: str, store: Callable[..., Store], face: Callable[..., Face]
) -> None:
    variables = {
        "NEARHIT_NAMESPACE": namespace,
        "NEARHIT_MODEL": "hash/64",
        "NEARHIT_THRESHOLD": "0.8",
        "NEARHIT_ENGINE": "local",
    }
    with Stack(variables) as stack:
        one = store(url=stack.server.url)
        one.put(*(one.entry(f"question {number}", ttl_seconds=600) for number in range(50)))
        with stack.server.client() as client:
            done = invalidate(face(url=stack.server.url), queued=True, everything=True)
            assert done.queued
            wait_until(lambda: left(client, one) == 0, 20, "the worker to remove all entries")
