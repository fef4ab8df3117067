"""Verdict cache: the judgements of this process, so that no pair is judged twice."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from nearhit.resilience.lru import Lru

if TYPE_CHECKING:
    from nearhit.flow.ports import Judgement

MAX_REMEMBERED = 4_096


class VerdictCache:
    """Judge, prompt and candidate to their judgement, the least recently used dropped first. Thread-safe, fork-safe.

    Texts are kept as digests, so that long ones take no more room.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = MAX_REMEMBERED) -> None:
        self._kept: Lru[bytes, Judgement] = Lru(most)

    def get(self, judge: str, prompt: str, candidate: str) -> Judgement | None:
        """Return what ``judge`` said of the pair, or ``None``."""
        return self._kept.get(_digest(judge, prompt, candidate))

    def put(self, judge: str, prompt: str, candidate: str, said: Judgement) -> None:
        """Remember what ``judge`` said of the pair."""
        self._kept.put(_digest(judge, prompt, candidate), said)


def _digest(*texts: str) -> bytes:
    made = blake2b(digest_size=16)
    for text in texts:
        blob = text.encode("utf-8", "surrogatepass")
        made.update(len(blob).to_bytes(8, "little"))  # else ("ab", "c") were ("a", "bc")
        made.update(blob)
    return made.digest()
