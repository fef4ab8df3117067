"""Verdict cache: the judgements of this process, so that no pair is paid for twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from nearhit.flow.ports import Judgement

MAX_REMEMBERED = 4_096


class VerdictCache:
    """Judge, prompt and candidate to their judgement, the least recently used dropped first.

    Texts are kept as digests, so that long ones take no more room. Safe to share between threads; a forked child starts
    with its parent's judgements and a lock of its own.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, Judgement] = OrderedDict()
        self._locks = PerProcess(threading.Lock)

    def get(self, judge: str, prompt: str, candidate: str) -> Judgement | None:
        """Return what ``judge`` said of the pair, or ``None``."""
        key = _digest(judge, prompt, candidate)
        with self._locks.get():
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, judge: str, prompt: str, candidate: str, said: Judgement) -> None:
        """Remember what ``judge`` said of the pair."""
        key = _digest(judge, prompt, candidate)
        with self._locks.get():
            self._kept[key] = said
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


def _digest(*texts: str) -> bytes:
    made = blake2b(digest_size=16)
    for text in texts:
        blob = text.encode("utf-8", "surrogatepass")
        made.update(len(blob).to_bytes(8, "little"))  # else ("ab", "c") were ("a", "bc")
        made.update(blob)
    return made.digest()
