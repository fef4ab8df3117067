"""Excerpts: the sentences in which two long texts differ, where they share nearly all of the rest.

The vector of a long text is a mean over its words: with the same context before them, two other questions are more than
0.9 alike. Their excerpts alone say how near the questions are.
"""

from __future__ import annotations

import re
from typing import Final

SHORTEST: Final = 254
"""Shorter texts have no excerpts: their own vectors tell them apart."""
LONGEST: Final = 1_000
"""Longest excerpt, in characters."""
SHARE: Final = 3
"""An excerpt is at most a third of the longer text: else the texts are compared as they are."""

_SENTENCE_END: Final = re.compile(r"[.?!:][\"'”’)]*\s+|[。？！]\s*|\n\s*")


def excerpts(prompt: str, candidate: str) -> tuple[str, str] | None:
    """Return the sentences in which two texts differ, or ``None`` where they are to be compared as a whole.

    A question stands at the beginning or at the end of what it is about: only there are excerpts taken. ``None``, too,
    where one text says nothing in that place.
    """
    if min(len(prompt), len(candidate)) < SHORTEST:
        return None
    same = _same(prompt, candidate)
    start = max((end.end() for end in _SENTENCE_END.finditer(prompt, 0, same)), default=0)
    behind = min(min(len(prompt), len(candidate)) - same, _same(prompt[::-1], candidate[::-1]))
    first = _SENTENCE_END.search(rest := prompt[len(prompt) - behind :])
    kept = len(rest) - first.end() if first else 0
    if start and kept:
        return None
    one, other = prompt[start : len(prompt) - kept].strip(), candidate[start : len(candidate) - kept].strip()
    longest = max(len(one), len(other))
    if not one or not other or longest > LONGEST or longest * SHARE > max(len(prompt), len(candidate)):
        return None
    return one, other


def _same(one: str, other: str) -> int:
    """Return how many characters two texts share at their beginning, found by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return low
