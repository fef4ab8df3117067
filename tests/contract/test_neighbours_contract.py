"""What a lookup promises of the nearest entries: the guard, and garbage in an entry, on both twins and both engines."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nearhit_worker.stack import wait_until

from nearhit import MissReason
from nearhit.domain.vectors import unit_rows
from tests.support.chosen_vectors import DIMENSION, ChosenVectors, axis, eventually, reason
from tests.support.outcomes import FAR, NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from tests.support.faces import Face
    from tests.support.store import Store

    Faces = Callable[..., Face]
    Stores = Callable[..., Store]


class Picky:
    """A guard that refuses every candidate with the word 'not' in it."""

    class Said:
        def __init__(self, *, accepted: bool) -> None:
            self.accepted = accepted
            self.reason = None if accepted else "negation"

    def judge(self, prompt: str, candidate: str, similarity: float) -> Said:
        return self.Said(accepted="not" not in candidate)


def test_the_next_neighbour_is_taken_where_the_guard_refuses_the_nearest(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair({"guard": Picky()})
    chosen.knows("asked", axis(1))
    for number, text in enumerate(["do not", "not so", "do"]):
        store.add(text, text, vector=unit_rows([axis(1, 0.1 * (number + 1))])[0])
    found = eventually(cache, "asked")
    assert found.answer == "do"
    assert found.similarity == pytest.approx(1 / np.sqrt(1.09), abs=1e-5)


def test_a_miss_by_the_guard_says_so(pair: Any, chosen: ChosenVectors) -> None:
    cache, store = pair({"guard": Picky()})
    chosen.knows("asked", axis(1))
    store.add("do not", "x", vector=unit_rows([axis(1, 0.1)])[0])
    wait_until(lambda: reason(cache.lookup("asked")) is MissReason.GUARD, 10, "it is refused")
    missed = cache.lookup("asked")
    assert (missed.nearest.prompt, missed.nearest.refusal) == ("do not", "negation")


def test_a_stored_vector_of_nonsense_breaks_no_lookup(pair: Any, chosen: ChosenVectors, client: redis.Redis) -> None:
    cache, store = pair()
    chosen.knows("near", axis(1, 0.1))
    chosen.knows("elsewhere", axis(0, 0, 0, 1))
    store.add("first", "right", vector=chosen.knows("first", axis(1)))
    blobs = [b"", b"\x00" * 12, b"\x00" * 4 * DIMENSION, b"\xff" * 4 * DIMENSION, b"\x7f" * 999]
    for number, blob in enumerate(blobs):
        key = store.add(f"bad {number}", "wrong", vector=unit_rows([axis(0, 0, 1)])[0])
        client.hset(key, "embedding", blob)
    store.add("last", "last", vector=chosen.knows("last", axis(0, 1)))
    eventually(cache, "last")
    assert eventually(cache, "near").answer == "right"
    assert reason(cache.lookup("elsewhere")) in FAR | {MissReason.UNREADABLE, MissReason.EXPIRED}


def stands_for(name: str, value: bytes) -> list[Any]:
    """Return the answer that ``value`` is, garbage or not, where it stands in the field of the answer."""
    with suppress(ValueError, RecursionError):
        return [json.loads(value)] if name == "response" else []
    return []


@pytest.mark.parametrize("name", ["prompt", "response", "expires", "created", "embedder", "scope", "usage"])
def test_garbage_in_a_field_of_the_nearest_breaks_no_lookup(
    pair: Any, chosen: ChosenVectors, client: redis.Redis, name: str
) -> None:
    cache, store = pair()
    chosen.knows("asked", axis(1))
    store.add("farther", "right", vector=unit_rows([axis(1, 0.3)])[0])
    eventually(cache, "asked")
    key = store.add("asked", "also right")
    for value in (b"", b"\xff\xfe", b"9" * 400, b"[Infinity,1,1,1]", b"[" * 100_000):
        client.hset(key, name, value)
        outcome = cache.lookup("asked")
        if outcome:
            assert outcome.answer in ["right", "also right", *stands_for(name, value)]
        else:
            assert reason(outcome) in NOTHING | {MissReason.UNREADABLE, MissReason.EXPIRED}


def test_a_key_of_another_type_in_an_entrys_place_breaks_nothing(
    pair: Any, chosen: ChosenVectors, client: redis.Redis
) -> None:
    cache, store = pair()
    chosen.knows("asked", axis(1))
    key = store.key(store.entry("asked"))
    client.lpush(key, "x")
    client.expire(key, 100)
    assert reason(cache.lookup("asked")) in NOTHING | {MissReason.UNAVAILABLE}
    store.put(store.entry("asked", "healed"), store.entry("other", "neighbour"))
    assert eventually(cache, "asked").answer == "healed"


def test_a_stored_time_of_nonsense_does_not_keep_a_newer_answer_out(
    pair: Any, chosen: ChosenVectors, client: redis.Redis
) -> None:
    cache, store = pair()
    chosen.knows("asked", axis(1))
    key = store.add("asked", "old")
    client.hset(key, "created", "soon")
    store.put(store.entry("asked", "new"), store.entry("other", "neighbour"))
    assert eventually(cache, "asked").answer == "new"
