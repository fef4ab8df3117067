"""The bench of many lookups at a time, in a short form: it measures what it says, and finds what is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import ValkeyServer

from bench import concurrency, seed
from bench.corpus import Corpus
from bench.shelf import ANSWER, Shelf
from nearhit import Settings
from tests.conftest import MODULE

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 60
PYTHON = os.environ.get("NEARHIT_TEST_LITELLM_SEED_PYTHON", "")

pytestmark = pytest.mark.skipif(not MODULE, reason="no search module: set NEARHIT_TEST_SEARCH_MODULE to its path")


@pytest.fixture
def side(tmp_path: Path) -> Iterator[concurrency.Side]:
    """Nearhit in a process of its own, beside a server with entries of which it may ask."""
    corpus = Corpus(SIZE)
    with ValkeyServer(tmp_path / "valkey", module=MODULE) as server:
        shelf = Shelf(Settings(threshold=0.5, url=server.url, engine="valkey-search"), corpus)
        shelf.grow(SIZE)
        texts = [f"{kind} {number}" for kind in ("text", "ask") for number in range(SIZE)]
        seed.write_texts(tmp_path, corpus, texts)
        with concurrency.Side("nearhit", Path(sys.executable), server.url, tmp_path) as made:
            yield made


def test_every_lookup_is_measured_and_is_the_texts_own_hit(side: concurrency.Side) -> None:
    asked = list(range(2 * SIZE))
    for order in (
        {"do": "awaited", "fresh": False, "busy": False},
        {"do": "awaited", "fresh": True, "busy": False},
        {"do": "awaited", "fresh": False, "busy": True},
        {"do": "threads"},
    ):
        got = side.ask(at_once=16, asked=asked, **order)
        assert got["said"] == {"hit": 2 * SIZE}, order
        assert len(got["each"]) == 2 * SIZE
        assert 0 < max(got["each"]) <= got["seconds"]
        assert got["cpu"] > 0


def test_every_fill_is_measured_and_accepted(side: concurrency.Side) -> None:
    assert side.ask(do="fills", at_once=32, count=200, answer=ANSWER)["said"] == {"accepted": 200}


@pytest.mark.timeout(300)
@pytest.mark.skipif(not PYTHON, reason="LiteLLM's own class: set NEARHIT_TEST_LITELLM_SEED_PYTHON to its Python")
def test_every_line_has_a_figure_of_both_sides() -> None:
    amounts = concurrency.Amounts(SIZE, (SIZE,), (1, 64, 256), (1, 8), calls=100, rounds=2, fills=600, busy=(20, 2))
    lines = list(concurrency.lines(MODULE, amounts))
    assert len(lines) == 1 + 3 * 3 + 1 + 1 + 3 + 2 + 1 + 1
    assert all(line.value is not None and line.goal for line in lines)
    assert [line.value for line in lines if "hits lost" in line.name] == [0]
