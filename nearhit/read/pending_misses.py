"""Pending misses: misses between a lookup and its fill, for callers whose two calls are far apart."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from nearhit.resilience.per_process import PerProcess

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
        self._limit = limit
        self._misses: OrderedDict[tuple[str, str], Miss] = OrderedDict()
        self._lock = PerProcess(threading.Lock)

    def put(self, miss: Miss) -> None:
        """Keep a miss; one that cannot be filled, or has no vector to save, is not worth a place."""
        if miss.bypass or not miss.vector:
            return
        with self._lock.get():
            self._misses[miss.scope, miss.prompt] = miss
            self._misses.move_to_end((miss.scope, miss.prompt))
            while len(self._misses) > self._limit:
                self._misses.popitem(last=False)

    def take(self, question: Question) -> Miss | None:
        """Return the miss of a question and forget it."""
        with self._lock.get():
            return self._misses.pop((question.scope, question.text), None)
