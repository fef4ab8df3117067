"""Shelf: fills a cache with a corpus quickly, by the worker's own upsert, and looks into it past the cache."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from nearhit import Metrics
from nearhit.assembly import plan_of
from nearhit.domain import vectors
from nearhit.domain.entry import Entry, encode_response, prompt_digest
from nearhit.domain.question import read_question
from nearhit.embedding.resolve import embedder_for
from nearhit.flow.batch import together
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.index.opening import open_space
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.valkey.link import link_for
from nearhit.write.upsert import upsert

if TYPE_CHECKING:
    from bench.corpus import Corpus
    from nearhit import Settings
    from nearhit.domain.question import Question
    from nearhit.index.space import Space

DAY_MS = 86_400_000
ANSWER = "An answer of a usual length, two or three sentences, as a model gives it to a question of a user. " * 3


class Shelf:
    """Puts the texts of a corpus into the cache of ``settings``, each with ``ANSWER``.

    Args:
        settings: where.
        corpus: what.
        model: whose vectors they pass for; empty for the corpus's own.

    Attributes:
        filled: how many texts ``grow`` has put in.
        indexed: how many entries a reader's index should have.
    """

    def __init__(self, settings: Settings, corpus: Corpus, model: str = "") -> None:
        self._corpus = corpus
        self.filled = 0
        self.indexed = 0
        gate = Gate(CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), Metrics(), "write")
        embedder = embedder_for(model) if model else corpus
        self._runner = Runner(link_for(settings.server().client()), embedder, gate)
        plan = plan_of(settings, embedder.name, settings.server())
        self.space: Space = self._runner.run(open_space(plan), 60.0).space

    def grow(self, size: int, seconds: float = 3_600.0) -> float:
        """Fill up to ``size`` entries; return entries a second.

        Raises:
            TimeoutError: it takes more than ``seconds``.
        """
        started, before = time.perf_counter(), self.filled
        while self.filled < size:
            if time.perf_counter() > started + seconds:
                raise TimeoutError(f"{self.filled:,} of {size:,} entries after {seconds:.0f} s")
            upto = min(size, self.filled + 500)
            entries = [self.entry(number) for number in range(self.filled, upto)]
            self._runner.run(upsert(entries, self.space.keys), 60.0)
            self.filled = upto
        return (size - before) / max(1e-9, time.perf_counter() - started)

    def found(self, numbers: list[int]) -> list[int]:
        """Return those of ``numbers`` whose entries a search for their vectors finds."""
        asked = [(number, self._query(number)) for number in numbers]
        searches = [self.space.engine.search(query.scope, self._corpus.vectors[number], 1) for number, query in asked]
        nearest = self._runner.run(together(searches), 30.0)
        return [
            number
            for (number, query), rows in zip(asked, nearest, strict=True)
            if any(row.key.decode() == self.key(query) for row in rows)
        ]

    def key(self, query: Question) -> str:
        """Return the key of a query's entry."""
        return self.space.keys.entry(query.scope, prompt_digest(query.text))

    def close(self) -> None:
        """Stop what the engine runs in the background."""
        self.space.engine.close()

    def entry(self, number: int) -> Entry:
        """Return the entry of a text."""
        query = self._query(number)
        now_us = time.time_ns() // 1000
        return Entry(
            scope=query.scope,
            tenant="",
            prompt=query.text,
            response=encode_response(f"{number}: {ANSWER}"),
            embedding=vectors.to_bytes(self._corpus.vectors[number]),
            embedder=self.space.keys.embedder,
            created_us=now_us,
            fresh_until_ms=now_us // 1000 + DAY_MS,
            expires_ms=now_us // 1000 + DAY_MS,
        )

    def _query(self, number: int) -> Question:
        return read_question(f"text {number}", {})  # type: ignore[return-value]  # a plain text is no bypass
