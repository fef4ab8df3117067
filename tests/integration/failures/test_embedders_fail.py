"""Reads never hurt: an embedder that fails, in whatever way, is a miss by name."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nearhit_worker.stack import wait_until

from nearhit import FillOutcome, MissReason
from nearhit.flow.ports import Embeddings
from nearhit.testing import HashEmbedder
from tests.support.failures import count, in_time, reason, stocked
from tests.support.outcomes import FAR, NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Moody:
    """The hash embedder, until its mood changes."""

    name, in_process = "hash/64", False

    def __init__(self) -> None:
        self._inner = HashEmbedder(64)
        self.mood = ""
        self.calls = 0

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.calls += 1
        if self.mood == "hangs":
            time.sleep(3)
        return self._say(texts)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.calls += 1
        if self.mood == "hangs":
            await asyncio.sleep(3)
        return self._say(texts)

    def _say(self, texts: Sequence[str]) -> Embeddings:
        made = self._inner.embed(texts, 1).vectors
        if self.mood == "raises":
            raise RuntimeError("a bug of the embedder")
        changed: dict[str, Callable[[], Any]] = {
            "short": lambda: made[:, :32],
            "nan": lambda: np.full_like(made, np.nan),
            "zero": lambda: np.zeros_like(made),
            "none": lambda: None,
            "many": lambda: np.concatenate([made, made]),
        }
        return Embeddings(changed[self.mood]() if self.mood in changed else made)


@pytest.mark.parametrize(
    ("mood", "expected"),
    [
        ("raises", MissReason.EMBEDDER_UNAVAILABLE),
        ("hangs", MissReason.EMBEDDER_UNAVAILABLE),
        ("short", MissReason.EMBEDDER_REFUSED),
        ("nan", MissReason.EMBEDDER_REFUSED),
        ("zero", MissReason.EMBEDDER_REFUSED),
        ("none", MissReason.EMBEDDER_REFUSED),
        ("many", MissReason.EMBEDDER_REFUSED),
    ],
)
def test_an_embedder_that_fails_is_a_miss_by_name_and_exact_hits_go_on(
    own_face: Any, own_settings: Any, mood: str, expected: MissReason
) -> None:
    moody = Moody()
    cache = own_face({"embedder": moody})
    stocked(cache, own_settings())
    moody.mood = mood
    for number in range(5):
        missed = in_time(partial(cache.lookup, f"Who is {number}?"))
        assert (reason(missed), missed.vector) == (expected, b"")
        assert in_time(lambda: cache.lookup("What is it?")).answer == "a thing"
    if expected is MissReason.EMBEDDER_UNAVAILABLE:
        assert count(cache, "nearhit_breaker_open", part="embed") == 1
    moody.mood = ""
    wait_until(lambda: reason(cache.lookup("Nobody?")) in FAR, 20, "the semantic tier is back")
    assert count(cache, "nearhit_breaker_open", part="embed") == 0
    missed = cache.lookup("Nobody?")
    assert cache.fill(missed, "no") in {FillOutcome.ACCEPTED, FillOutcome.SPOOLED}


@pytest.mark.parametrize("mood", ["raises", "hangs", "nan", "zero", "none", "many"])
def test_a_cache_that_starts_with_a_failing_embedder_heals(own_face: Any, mood: str) -> None:
    moody = Moody()
    moody.mood = mood
    cache = own_face({"embedder": moody})
    for _ in range(3):
        outcome = in_time(lambda: cache.lookup("What is it?"))
        assert reason(outcome) in {MissReason.EMBEDDER_UNAVAILABLE, MissReason.MISCONFIGURED, MissReason.WARMING}
    moody.mood = ""
    wait_until(lambda: reason(cache.lookup("What is it?")) in NOTHING, 30, "it works")
