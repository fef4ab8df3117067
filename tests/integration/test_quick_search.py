"""Lookups that begin with few candidates, on the real module: whatever a thorough search finds is found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nearhit import Hit
from nearhit.domain.hit_policy import Rules
from nearhit.domain.question import Question
from nearhit.domain.vectors import unit_rows
from nearhit.embedding.vector_cache import VectorCache
from nearhit.flow.batch import together
from nearhit.index.quick_search import CANDIDATES
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit.read.lookup import lookup
from nearhit.valkey.search_protocol import Hnsw

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit.index.space import Space
    from tests.support.store import Store

pytestmark = pytest.mark.search

ENTRIES, ASKED, DIMENSION = 2_000, 300, 64
THOROUGH = 40


@pytest.fixture
def server(search_server: ValkeyServer) -> ValkeyServer:
    return search_server


def test_nothing_is_missed_that_a_thorough_search_finds(store: Callable[..., Store]) -> None:
    """In a poor graph, by questions to which the nearest entry alone is near enough."""
    one = store(hnsw_m=4, hnsw_ef_construction=20, hnsw_ef_runtime=THOROUGH)
    draw = np.random.default_rng(3)
    centres = draw.standard_normal((40, DIMENSION))
    held = unit_rows(centres[draw.integers(0, 40, ENTRIES)] + 0.5 * draw.standard_normal((ENTRIES, DIMENSION)))
    for start in range(0, ENTRIES, 500):
        one.put(*(one.entry(f"entry {at}", at, vector=held[at]) for at in range(start, start + 500)))
    asked = unit_rows(held[:ASKED] + 0.05 * draw.standard_normal((ASKED, DIMENSION)))
    nearest = np.sort(asked @ held.T, axis=1)[:, -2:]
    thresholds = nearest.mean(axis=1)  # between the nearest entry and the next one
    scope = one.entry("any").scope

    def found(candidates: int, *, hurried: bool) -> tuple[set[int], Any]:
        engine = ValkeySearchEngine(one.keys, DIMENSION, Hnsw(ef_runtime=candidates))
        space: Space = replace(one.space, engine=engine, vectors=VectorCache(ASKED))
        flows = []
        for number, row in enumerate(asked):
            space.vectors.put(f"asked {number}", row)
            flows.append(lookup(Question(f"asked {number}", scope), space, Rules(float(thresholds[number])), {}))
        for _ in range(100 if hurried else 0):
            engine.quick.count(served=True)  # type: ignore[union-attr]  # it is set to more than a few candidates
        outcomes = one.run(together(flows))
        assert all(not isinstance(hit, Hit) or hit.answer == number for number, hit in enumerate(outcomes))
        return {number for number, hit in enumerate(outcomes) if isinstance(hit, Hit)}, engine.quick

    narrow, none = found(CANDIDATES, hurried=False)
    thorough, _ = found(THOROUGH, hurried=False)
    both, _ = found(THOROUGH, hurried=True)
    assert none is None
    assert len(narrow) < len(thorough)
    assert thorough <= both
    assert len(both) > ASKED / 2
