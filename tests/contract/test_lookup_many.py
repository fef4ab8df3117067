"""What a lookup of many prompts promises, on both twins and both engines."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nearhit_worker.stack import wait_until

from nearhit import Hit, Miss, MissReason, Tier
from nearhit.domain.vectors import unit_rows
from nearhit.errors import EmbedderUnavailableError
from nearhit.flow.ports import Embeddings
from nearhit.valkey.key_names import LogKeys
from tests.support.outcomes import FAR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit import Settings
    from tests.support.faces import Face
    from tests.support.store import Store

    Faces = Callable[..., Face]
    Stores = Callable[..., Store]

DIMENSION = 32


class Counting:
    """An embedder that gives ``near <n>`` nearly the vector of ``text <n>``, and writes down every call."""

    name, in_process = "counting/32", True

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.seconds = 0.0
        self.broken = False
        self._rows = unit_rows(np.random.default_rng(3).standard_normal((2_000, DIMENSION)))

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        time.sleep(min(self.seconds, timeout_seconds))
        if self.seconds > timeout_seconds:
            raise EmbedderUnavailableError("the provider is slow")
        return self._made(texts)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        await asyncio.sleep(self.seconds)
        return self._made(texts)

    def _made(self, texts: Sequence[str]) -> Embeddings:
        self.calls.append(tuple(texts))
        if self.broken:
            raise EmbedderUnavailableError("the provider is down")
        rows = []
        for text in texts:
            kind, _, number = text.partition(" ")
            row = self._rows[int(number) if number.isdigit() else 1_999]
            rows.append(row + 0.02 if kind == "near" else row)
        return Embeddings(unit_rows(rows))


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def pair(face: Faces, store: Stores, counting: Counting) -> Callable[..., tuple[Face, Store]]:
    """Makes a cache that holds ``text 0`` to ``text 39``, and the store of its entries."""

    def make(**changes: Any) -> tuple[Face, Store]:
        settings = {"threshold": 0.9, **changes}
        one, entries = face({"embedder": counting}, **settings), store(counting, **settings)
        assert one.warm_up()
        entries.put(*(entries.entry(f"text {number}", number) for number in range(40)))
        wait_until(lambda: bool(one.lookup("near 39")), 10, "the last entry is found")
        counting.calls.clear()
        return one, entries

    return make


def many(cache: Face, prompts: Sequence[Any], scope: Any = None) -> list[Hit | Miss]:
    found: list[Hit | Miss] = cache.run(cache.cache.lookup_many(prompts, scope))
    return found


def trips(cache: Face) -> list[list[str]]:
    """Return the names of the commands of every round trip from now on."""
    seen: list[list[str]] = []
    link = cache.cache._links.cache  # noqa: SLF001 - what goes over the wire is what is promised
    send = link.send

    def watched(commands: Sequence[Any], timeout_seconds: float) -> Any:
        seen.append([str(command[0]) for command in commands])
        return send(commands, timeout_seconds)

    link.send = watched
    return seen


def test_outcomes_come_in_the_order_of_the_prompts_whatever_each_is(pair: Any) -> None:
    cache, _ = pair()
    outcomes = many(cache, ["near 7", "text 3", "near 500", [{"role": "user", "content": "near 5"}], "text 30"])
    assert [getattr(one, "answer", None) for one in outcomes] == [7, 3, None, 5, 30]
    assert [getattr(one, "tier", None) for one in outcomes] == [
        *(Tier.SEMANTIC, Tier.EXACT),
        *(None, Tier.SEMANTIC, Tier.EXACT),
    ]
    assert isinstance(outcomes[2], Miss)
    assert outcomes[2].reason in FAR
    assert outcomes[2].vector


def test_texts_are_embedded_in_one_call_each_once_and_exact_hits_not_at_all(pair: Any, counting: Counting) -> None:
    cache, _ = pair()
    outcomes = many(cache, ["near 1", "near 2", " near 1 ", "text 4", "near 600", "near 1"])
    assert counting.calls == [("near 1", "near 2", "near 600")]
    assert [getattr(one, "answer", None) for one in outcomes] == [1, 2, 1, 4, None, 1]
    many(cache, ["near 1", "near 600"])
    assert len(counting.calls) == 1, "this process knows their vectors"


def test_a_hundred_prompts_take_as_few_round_trips_as_one(pair: Any) -> None:
    cache, _ = pair()
    seen = trips(cache)
    many(cache, [f"near {number}" for number in range(30)])
    whole = len(seen)
    assert whole == 2, seen
    assert seen[0] == ["HMGET"] * 30
    assert sum(name in {"FT.SEARCH", "HMGET"} for name in seen[1]) == 30


def test_no_prompts_are_no_outcomes_and_nothing_is_asked(pair: Any, counting: Counting) -> None:
    cache, _ = pair()
    seen = trips(cache)
    assert (many(cache, []), many(cache, iter(())), seen, counting.calls) == ([], [], [], [])  # type: ignore[arg-type]


def test_a_prompt_that_cannot_be_cached_is_bypassed_and_costs_no_other(pair: Any, counting: Counting) -> None:
    cache, _ = pair()
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}]
    outcomes = many(cache, ["near 1", "", None, image, 3, "x" * 200_000, "near 2"])
    assert [getattr(one, "answer", None) for one in outcomes] == [1, None, None, None, None, None, 2]
    assert all(isinstance(one, Miss) and one.bypass for one in outcomes[1:6])
    assert counting.calls == [("near 1", "near 2")]


def test_a_scope_that_cannot_be_read_bypasses_all(pair: Any) -> None:
    cache, _ = pair()
    outcomes = many(cache, ["near 1", "text 1"], {"tenant": object()})
    assert [one.reason for one in outcomes if isinstance(one, Miss)] == [MissReason.BYPASS_SCOPE] * 2


def test_a_broken_embedder_leaves_exact_hits_and_known_vectors(pair: Any, counting: Counting) -> None:
    cache, _ = pair()
    many(cache, ["near 8"])
    counting.broken = True
    outcomes = many(cache, ["text 1", "near 9", "near 8", "near 10"])
    assert [getattr(one, "answer", None) for one in outcomes] == [1, None, 8, None]
    assert [one.reason for one in outcomes if isinstance(one, Miss)] == [MissReason.EMBEDDER_UNAVAILABLE] * 2


def test_a_broken_entry_is_a_miss_of_its_own(pair: Any) -> None:
    cache, store = pair()
    with cache.cache.settings.server().client() as client:
        client.hset(store.key(store.entry("text 5")), "response", b"{not json")
    outcomes = many(cache, ["text 4", "text 5", "text 6"])
    assert [getattr(one, "answer", None) for one in outcomes] == [4, None, 6]
    assert isinstance(outcomes[1], Miss)
    assert outcomes[1].reason is MissReason.UNREADABLE


def test_all_outcomes_come_within_the_deadline_of_one(pair: Any, counting: Counting) -> None:
    cache, _ = pair(deadline_ms=300)
    counting.seconds = 5.0
    started = time.monotonic()
    outcomes = many(cache, [f"near {number}" for number in range(20)] + ["text 2"])
    assert time.monotonic() - started < 2.0
    assert [one.reason for one in outcomes[:20] if isinstance(one, Miss)] == [MissReason.EMBEDDER_UNAVAILABLE] * 20
    assert isinstance(outcomes[20], Hit)


def test_every_outcome_is_counted(pair: Any) -> None:
    cache, _ = pair()
    space = cache.cache.settings.namespace

    def hits(tier: str) -> float:
        labels = {"namespace": space, "tier": tier, "outcome": "hit"}
        return float(cache.metrics.registry.get_sample_value("nearhit_lookups_total", labels) or 0)

    before = (hits("exact"), hits("semantic"))
    many(cache, ["text 1", "text 1", "near 1", "near 900"])
    assert (hits("exact") - before[0], hits("semantic") - before[1]) == (2, 1)


def test_a_closed_cache_says_so_to_each(pair: Any) -> None:
    cache, _ = pair()
    cache.close_cache()
    outcomes = many(cache, ["text 1", ""])
    assert [one.reason for one in outcomes if isinstance(one, Miss)] == [MissReason.CLOSED, MissReason.BYPASS_EMPTY]


def test_a_stale_hit_asks_for_its_refresh_as_a_lookup_does(pair: Any, settings: Callable[..., Settings]) -> None:
    cache, store = pair()
    store.add("text 100", "old", fresh_until_ms=1, refresh=b'{"model": "m", "messages": []}')
    (found,) = many(cache, ["text 100"])
    assert isinstance(found, Hit)
    assert (found.fresh, found.refreshable) == (False, True)
    log = LogKeys(settings().namespace).log("refresh")
    with settings().server().client() as client:
        wait_until(lambda: client.xlen(log) == 1, 5, "one refresh is asked for")
