"""Detail: what only one of two longer texts says, sentence by sentence: a new fact, a further step, a missing value."""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Final

from nearhit.guard.words import K_CONTENT, K_ENTITY, K_NUMBER, K_UNIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.guard.analysis import Analysis
    from nearhit.guard.compare import Comparison

DETAILS: Final = (
    "sentences_min", "sentences_max", "new_sentences", "new_numbers", "new_names", "new_shared_names",
    "new_asked_words", "new_focus", "new_changes", "new_known_words", "new_unknown_words", "inner_numbers_min",
    "inner_numbers_max", "inner_words_min", "inner_words_max", "inner_run", "inner_run_numbers", "inner_focus",
    "inner_changes", "asked_extra",
)  # fmt: skip
NO_DETAILS: Final = [0.0] * len(DETAILS)
_MOSTLY: Final = 0.55
_CHANGES: Final = frozenset({"more", "less", "other", "again", "total", "left", "only", "each", "all", "after", "then"})
_SUMS: Final = len(DETAILS) - 2


def details(pair: Comparison) -> list[float]:
    """Return the values of ``DETAILS`` for a pair of which one text has several sentences and says something more."""
    a, b = pair.first, pair.second
    one, other = _side(a, pair.left, b), _side(b, pair.right, a)
    numbers, words = sorted((one[9], other[9])), sorted((one[10], other[10]))
    few, many = sorted((len(a.sentences), len(b.sentences)))
    total = [x + y for x, y in zip(one, other, strict=True)]
    return [few, many, *total[:9], *numbers, *words, max(one[11], other[11]), *total[12:]]


def _side(text: Analysis, extra: Sequence[int], against: Analysis) -> list[float]:
    """Return what one text says more: of its new sentences 9 values, of what is new inside of others 7."""
    found = [0.0] * 16
    if not extra:
        return found
    keys, kinds, spots = text.keys, text.kinds, set(extra)
    starts = text.sentences
    asked = set(keys[starts[-1] :]) | set(against.keys[against.sentences[-1] :])
    focus = {text.focus, against.focus} - {""}
    changes = [place for key, place in text.modifiers if key in _CHANGES]
    for start, end in zip(starts, [*starts[1:], len(keys)], strict=True):
        inside = [place for place in range(start, end) if place in spots]
        if not inside:
            continue
        numbers = sum(kinds[place] == K_NUMBER for place in inside)
        if start != starts[-1] and len(inside) >= _MOSTLY * (end - start):
            rest = set(keys[:start]) | set(keys[end:])
            words = [place for place in range(start, end) if kinds[place] >= K_CONTENT or kinds[place] == K_UNIT]
            names = [keys[place] for place in words if kinds[place] == K_ENTITY]
            known = sum(keys[place] in rest for place in words)
            said = (
                1, numbers, len(names), sum(name in rest for name in names), sum(keys[p] in asked for p in words),
                any(keys[place] in focus for place in words), sum(start <= p <= end for p in changes), known,
                len(words) - known,
            )  # fmt: skip
            found[: len(said)] = map(add, found, said)
            continue
        found[9] += numbers
        found[10] += len(inside) - numbers
        run, run_numbers = _longest_run(inside, kinds)
        if run > found[11]:
            found[11], found[12] = run, run_numbers
        found[13] += any(keys[place] in focus for place in inside)
        found[14] += sum(place in spots or place - 1 in spots for place in changes if start <= place < end)
        found[15] += len(inside) if start == starts[-1] else 0
    return found


def _longest_run(places: Sequence[int], kinds: Sequence[int]) -> tuple[int, int]:
    """Return the size of the longest run of neighbouring places, one gap forgiven, and the numbers in it."""
    best = best_numbers = size = numbers = 0
    last = -3
    for place in places:
        if place > last + 2:
            size = numbers = 0
        size += 1
        numbers += kinds[place] == K_NUMBER
        if size > best:
            best, best_numbers = size, numbers
        last = place
    return best, best_numbers
