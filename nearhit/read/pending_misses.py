"""Pending misses: keeps misses between a lookup and its fill, for callers that make the two calls far apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.resilience.lru import Lru

if TYPE_CHECKING:
    from nearhit.domain.outcome import Miss
    from nearhit.domain.question import Question

MAX_PENDING = 1024
"""How many misses are kept: 1024 vectors of 1536 dimensions are 6 MB."""


class PendingMisses:
    """Keeps the last misses by question, so that a question is embedded once. Thread-safe.

    Args:
        limit: how many; the oldest goes first.
    """

    def __init__(self, limit: int = MAX_PENDING) -> None:
        self._misses: Lru[tuple[str, str], Miss] = Lru(limit)

    def put(self, miss: Miss) -> None:
        """Keep a miss that has a vector and can be filled; ignore any other."""
        if miss.vector and not miss.bypass:
            self._misses.put((miss.scope, miss.prompt), miss)

    def take(self, question: Question) -> Miss | None:
        """Return the miss of a question and forget it."""
        return self._misses.pop((question.scope, question.text))
