"""What a lookup promises, on both twins and both engines, against numpy and against literals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nearhit_worker.stack import wait_until

from nearhit import FillOutcome, Hit, MissReason, Tier
from nearhit.domain.entry import encode_response
from nearhit.domain.vectors import unit_rows
from tests.support.chosen_vectors import DIMENSION, ChosenVectors, axis, eventually, reason
from tests.support.outcomes import FAR, NOTHING
from tests.support.writer import written

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from nearhit import Settings
    from tests.support.faces import Face
    from tests.support.store import Store

    Faces = Callable[..., Face]
    Stores = Callable[..., Store]


def test_the_nearest_in_the_scope_is_that_of_numpy(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair(threshold=0.01)
    rng = np.random.default_rng(7)
    rows = unit_rows(rng.standard_normal((400, DIMENSION)))
    scopes = [{"tenant": f"t{number % 3}"} for number in range(400)]
    store.put(*(store.entry(f"text {at}", at, vector=rows[at], scope=scopes[at]) for at in range(400)))
    chosen.knows("last", rows[399])
    wait_until(lambda: getattr(cache.lookup("last", scopes[399]), "answer", 0) == 399, 10, "the last is there")
    for number in range(60):
        asked = chosen.knows(f"question {number}", rng.standard_normal(DIMENSION))
        scope = scopes[number % 3]
        near = rows.astype(np.float64) @ asked.astype(np.float64)
        inside = [at for at in range(400) if scopes[at] == scope]
        best = max(inside, key=lambda at: near[at])
        found = cache.lookup(f"question {number}", scope)
        assert isinstance(found, Hit)
        assert (found.answer, found.tier) == (best, Tier.SEMANTIC)
        assert found.similarity == pytest.approx(near[best], abs=1e-5)


def test_a_write_is_visible_to_both_tiers(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    chosen.knows("near", axis(1, 0.2))
    store.add("first", "an answer", vector=chosen.knows("first", axis(1)))
    found = eventually(cache, "near")
    assert (found.tier, found.answer, found.cached_prompt) == (Tier.SEMANTIC, "an answer", "first")
    exact = cache.lookup(" first ")
    assert isinstance(exact, Hit)
    assert (exact.tier, exact.similarity, exact.answer) == (Tier.EXACT, 1.0, "an answer")


def test_an_overwritten_answer_is_the_new_one_in_both_tiers(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    chosen.knows("near", axis(1, 0.2))
    chosen.knows("first", axis(1))
    store.add("first", "old")
    assert eventually(cache, "near").answer == "old"
    store.add("first", "new")
    assert eventually(cache, "first").answer == "new"
    wait_until(lambda: getattr(cache.lookup("near"), "answer", "") == "new", 10, "the new answer is served")


def test_an_overwritten_vector_is_where_it_is_found(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    chosen.knows("there", axis(0, 1))
    chosen.knows("here", axis(1, 0.01))
    store.add("first", "x", vector=unit_rows([axis(1)])[0])
    eventually(cache, "here")
    store.add("first", "x", vector=unit_rows([axis(0, 1)])[0])
    eventually(cache, "there")
    assert reason(cache.lookup("here")) in FAR


def test_an_entry_ends_with_its_time_to_live(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    chosen.knows("near", axis(1, 0.1))
    store.add("first", "x", vector=chosen.knows("first", axis(1)), ttl_seconds=0.7)
    eventually(cache, "near")
    ends = time.monotonic() + 0.7
    wait_until(lambda: not cache.lookup("near"), 10, "the entry ends")
    assert time.monotonic() < ends + 5
    assert reason(cache.lookup("first")) in NOTHING | {MissReason.EXPIRED}
    assert reason(cache.lookup("near")) in NOTHING | {MissReason.EXPIRED}


def test_an_entry_past_its_life_is_not_served_though_the_server_still_has_it(
    pair: Any, chosen: ChosenVectors, client: redis.Redis
) -> None:
    cache, store = pair()
    chosen.knows("near", axis(1, 0.1))
    key = store.add("first", "x", vector=chosen.knows("first", axis(1)))
    eventually(cache, "near")
    client.hset(key, "expires", str(time.time_ns() // 1_000_000 - 1))
    wait_until(lambda: not cache.lookup("near"), 10, "it is refused")
    assert reason(cache.lookup("first")) in NOTHING | {MissReason.EXPIRED}


def test_a_removed_entry_is_not_served(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    chosen.knows("near", axis(1, 0.1))
    key = store.add("first", "x", vector=chosen.knows("first", axis(1)))
    eventually(cache, "near")
    store.take([key])
    wait_until(lambda: not cache.lookup("near"), 10, "it is gone")
    assert reason(cache.lookup("first")) in NOTHING | {MissReason.EXPIRED}


def test_an_entry_deleted_behind_our_back_is_not_served(pair: Any, chosen: ChosenVectors, client: redis.Redis) -> None:
    cache, store = pair()
    chosen.knows("near", axis(1, 0.1))
    key = store.add("first", "x", vector=chosen.knows("first", axis(1)))
    eventually(cache, "near")
    client.delete(key)
    assert reason(cache.lookup("near")) in NOTHING | {MissReason.EXPIRED}


SCOPES: list[Any] = [
    None,
    {"tenant": "a"},
    {"tenant": "b"},
    {"tenant": "a,b"},
    {"tenant": "a}"},
    {"tenant": "a", "model": "m"},
    {"tenant": "a", "temperature": 1},
    {"system": "a"},
    {"tools": [{"name": "a"}]},
]


def test_an_answer_never_leaves_its_scope(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    chosen.knows("first", axis(1))
    chosen.knows("near", axis(1, 0.1))
    store.put(*(store.entry("first", number, scope=scope) for number, scope in enumerate(SCOPES[:-1])))
    for number, scope in enumerate(SCOPES[:-1]):
        assert eventually(cache, "near", scope).answer == number
        assert eventually(cache, "first", scope).answer == number
    for prompt in ("near", "first"):
        assert reason(cache.lookup(prompt, SCOPES[-1])) in NOTHING


def test_two_namespaces_on_one_server_never_mix(pair: Any, chosen: ChosenVectors, face: Faces, namespace: str) -> None:
    cache, store = pair()
    store.add("first", "x", vector=chosen.knows("first", axis(1)))
    eventually(cache, "first")
    other = face({"embedder": chosen}, namespace=f"{namespace}-b")
    assert other.warm_up()
    assert reason(other.lookup("first")) in NOTHING


def test_two_embedders_in_one_namespace_never_mix(pair: Any, chosen: ChosenVectors, face: Faces) -> None:
    cache, store = pair()
    store.add("first", "x", vector=chosen.knows("first", axis(1)))
    eventually(cache, "first")
    other = face(model="hash/32")
    assert other.warm_up()
    assert reason(other.lookup("first")) in NOTHING


@pytest.mark.parametrize("size", [1_000_000, 1_048_577, 3_000_000, 8 * 1024 * 1024 - 2])
def test_a_large_answer_is_served_whole_in_both_tiers(pair: Any, chosen: ChosenVectors, size: int) -> None:
    cache, store = pair(deadline_ms=20_000)
    chosen.knows("near", axis(1, 0.1))
    answer = "é" * (size // 4) + "x" * (size - 2 * (size // 4))
    assert len(encode_response(answer)) == size + 2
    store.add("first", answer, vector=chosen.knows("first", axis(1)))
    assert eventually(cache, "near").answer == answer
    assert eventually(cache, "first").answer == answer


def test_an_answer_over_the_limit_is_refused_at_the_caller(pair: Any) -> None:
    cache, _ = pair()
    assert cache.fill("first", "x" * (8 * 1024 * 1024)) is FillOutcome.REFUSED


def test_a_neighbour_on_the_other_side_is_a_miss_with_a_negative_similarity(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    chosen.knows("opposite", axis(-1, 0.1))
    chosen.knows("near", axis(1, 0.1))
    store.add("first", "x", vector=chosen.knows("first", axis(1)))
    eventually(cache, "near")
    missed = cache.lookup("opposite")
    assert reason(missed) in FAR
    assert missed.nearest is not None
    assert missed.nearest.similarity == pytest.approx(-0.995037, abs=1e-5)


def test_the_exact_tier_goes_on_while_the_embedder_is_down(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair()
    store.add("first", "x", vector=chosen.knows("first", axis(1)))
    eventually(cache, "first")
    chosen.broken = True
    assert cache.lookup("first").answer == "x"
    assert reason(cache.lookup("another")) is MissReason.EMBEDDER_UNAVAILABLE


def test_a_cache_that_starts_while_the_embedder_is_down_serves_the_exact_tier(
    pair: Any, chosen: ChosenVectors, face: Faces
) -> None:
    _, store = pair()
    store.add("first", "x", vector=chosen.knows("first", axis(1)))
    chosen.broken = True
    late = face({"embedder": chosen})
    assert eventually(late, "first").answer == "x"
    assert reason(late.lookup("another")) is MissReason.EMBEDDER_UNAVAILABLE


def test_a_miss_that_is_filled_and_written_is_a_hit(face: Faces, settings: Callable[..., Settings]) -> None:
    cache = face()
    assert cache.warm_up()
    missed = cache.lookup("How do I restore a snapshot?", {"tenant": "acme"})
    assert reason(missed) in NOTHING
    assert cache.fill(missed, {"text": "Like this.", "parts": [1, None]}) is FillOutcome.ACCEPTED
    assert written(settings()) == 1
    found = eventually(cache, "How do I restore a snapshot?", {"tenant": "acme"})
    assert found.answer == {"text": "Like this.", "parts": [1, None]}
    assert reason(cache.lookup("How do I restore a snapshot?", {"tenant": "other"})) in NOTHING


def test_get_or_create_asks_once(face: Faces, settings: Callable[..., Settings]) -> None:
    cache = face()
    assert cache.warm_up()
    asked: list[int] = []

    def create() -> str:
        asked.append(1)
        return "made"

    async def create_async() -> str:
        return create()

    make = create if cache.kind == "sync" else create_async
    assert cache.run(cache.cache.get_or_create("What is it?", make)) == "made"
    assert written(settings()) == 1
    eventually(cache, "What  is it?")  # found by the search: the exact tier folds no space within a text
    assert cache.run(cache.cache.get_or_create("What  is it?", make)) == "made"
    assert len(asked) == 1


def test_a_decorated_function_is_asked_once_for_each_scope(face: Faces, settings: Callable[..., Settings]) -> None:
    cache = face()
    assert cache.warm_up()
    asked: list[str] = []

    def ask(prompt: str, model: str = "m") -> str:
        asked.append(model)
        return f"{model} says"

    async def ask_async(prompt: str, model: str = "m") -> str:
        return ask(prompt, model)

    decorated = cache.cache.cached({"tenant": "acme"})(ask if cache.kind == "sync" else ask_async)
    assert cache.run(decorated("What is it?")) == "m says"
    assert cache.run(decorated("What is it?", model="n")) == "n says"
    assert written(settings()) == 2
    wait_until(lambda: cache.run(decorated("What is it?")) == "m says" and len(asked) < 20, 5, "it is found")
    before = len(asked)
    assert cache.run(decorated("What is it?", "n")) == "n says"
    assert len(asked) == before


def test_after_closing_a_fill_is_dropped_and_opens_no_connection(pair: Any, client: redis.Redis) -> None:
    cache, _ = pair()
    assert cache.fill("What is it?", "a thing") is FillOutcome.ACCEPTED
    cache.close_cache()
    before = len(client.client_list())
    assert cache.fill("What is that?", "a thing") is FillOutcome.DROPPED
    assert len(client.client_list()) <= before


def test_after_closing_a_lookup_is_a_miss_that_says_so(pair: Any) -> None:
    cache, _ = pair()
    cache.run(cache.cache.close())
    cache.run(cache.cache.close())
    assert reason(cache.lookup("first")) is MissReason.CLOSED
