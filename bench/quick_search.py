"""Quick search: lookups that begin with few candidates, against those that search thoroughly at once."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.measure import Line, in_turns
from nearhit import Hit, Metrics
from nearhit.domain.hit_policy import Rules
from nearhit.domain.question import Question
from nearhit.domain.scope import Scope, scope_digest
from nearhit.embedding.vector_cache import VectorCache
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit.read.lookup import lookup
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.valkey.link import link_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.corpus import Corpus
    from bench.shelf import Shelf
    from nearhit import Miss, Settings

SHARES = (1.0, 0.5, 0.0)
"""Shares of lookups that hit; the others ask the same, and nothing is near enough for them."""

_HIT, _MISS = Rules(0.5), Rules(0.9999)


class Reader:
    """Looks up rewordings whose vectors are known.

    Args:
        settings: where.
        shelf: what filled it.
        corpus: texts and vectors.
        quick: lookups may begin with few candidates.
    """

    def __init__(self, settings: Settings, shelf: Shelf, corpus: Corpus, *, quick: bool) -> None:
        gate = Gate(CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), Metrics(), "read")
        self._link = link_for(settings.server().client())
        self._runner = Runner(self._link, corpus, gate)
        engine = ValkeySearchEngine(shelf.space.keys, shelf.space.dimension)
        if not quick:
            engine.quick = None
        self._space = replace(shelf.space, engine=engine, vectors=VectorCache(corpus.size))
        self._scope = scope_digest(Scope.of(None))
        self._shelf, self._corpus = shelf, corpus
        self.hits = 0

    def ask(self, number: int, share: float) -> Hit | Miss:
        """Look a rewording up; of a hundred lookups in a row this share hit."""
        text = f"ask {number * 37 % self._shelf.filled}"
        self._space.vectors.put(text, self._corpus.embed([text], 1.0).vectors[0])
        rules = _HIT if number * 61 % 100 < 100 * share else _MISS
        found = self._runner.run(lookup(Question(text, self._scope), self._space, rules, {}), 60.0)
        self.hits += isinstance(found, Hit)
        return found

    def close(self) -> None:
        """Close its connections."""
        self._link.close()


def lines(settings: Settings, shelf: Shelf, corpus: Corpus, calls: int) -> Iterator[Line]:
    """Yield what it gives at each share of hits, for the entries that are there now."""
    readers = [Reader(settings, shelf, corpus, quick=quick) for quick in (True, False)]
    for share in SHARES:
        yield _line(f"valkey-search, {shelf.filled:,} entries: {share:.0%} hits", readers, share, calls)
    for reader in readers:
        reader.close()


def _line(name: str, readers: list[Reader], share: float, calls: int) -> Line:
    for reader in readers:
        for number in range(128):  # what is worth it is learned from the latest lookups
            reader.ask(number, share)
        reader.hits = 0

    def asking(reader: Reader) -> Any:
        return lambda number: reader.ask(number, share)

    times = in_turns(calls, *map(asking, readers))
    most = calls * 9 // 10  # without the tenth in which the machine did something else
    ours, thorough = (sum(one.seconds[:most]) / most * 1e6 for one in times)
    note = f"{ours:.0f} µs against {thorough:.0f} µs; hits {readers[0].hits:,} against {readers[1].hits:,}"
    return Line(
        f"{name}, quick searches first against thorough ones alone, mean of nine tenths",
        ours / thorough,
        "ratio",
        note=note,
    )
