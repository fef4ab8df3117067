"""Comparison: what two analysed texts share, in which order, and what only one of them says."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from nearhit.guard.words import K_CONTENT, OPPOSITES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.guard.analysis import Analysis

_MAX_SOFT: Final = 6
# Endings that derive one word from another and leave what it is about; "less" and "un-" turn it round.
_DERIVED: Final = """ion ation ition er or ing ment al ally ity ness ive ic ical ist ism ance ence able ible ful
ous y i e t ant ent ary ery ure age at ate ator ative iz ize ise is ization isation an ian
ish ship hood dom th ly r d n"""
_SUFFIXES: Final = frozenset(["", *_DERIVED.split()])


def shared_start(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items the two share at their beginning."""
    shared, size = 0, min(len(one), len(other))
    while shared < size and one[shared] == other[shared]:
        shared += 1
    return shared


@lru_cache(maxsize=32768)
def same_word(one: str, other: str) -> bool:
    """Return whether two different keys are one word, misspelt or derived."""
    if one > other:
        one, other = other, one
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    if len(short) < 4 or not short.isalpha() or not long.isalpha():
        return False
    shared = shared_start(short, long)
    if shared >= 4 and short[shared:] in _SUFFIXES and long[shared:] in _SUFFIXES:
        return True
    if len(long) - len(short) > 1 or len(long) < 5:
        return False
    if len(short) < len(long):  # one letter was added or left out
        return short[shared:] == long[shared + 1 :]
    if short[shared + 1 :] == long[shared + 1 :]:  # one letter was changed
        return True
    swapped = long[shared : shared + 2][::-1]
    return short[shared + 2 :] == long[shared + 2 :] and short[shared : shared + 2] == swapped


# Relations that hold both ways: who comes first says nothing.
_SYMMETRIC: Final = frozenset(
    """married marry same similar equal friends friend dating related sibling siblings cousins cousin between
    difference differ different compare compared distance together neighbors neighbours engaged divorced spouse
    partner partners close acquaintance acquaintances acquainted connected linked tied adjacent parallel identical
    equivalent neighbor neighbour colleague colleagues classmate classmates teammate teammates roommate roommates
    relative relatives rival rivals twin twins familiar""".split()  # noqa: SIM905 - a list of words is read as words
)


class Comparison:
    """Two analyses side by side. Read only.

    Attributes:
        places: for each content word of the first text its partner's place in the second, or -1.
        left: places of the first text's words without a partner.
        right: places of the second text's words without a partner.
        dropped: words that a self-correction took back.
        dropped_far: words between the first of them and the correction.
        soft: pairs that were matched in spite of another spelling.
        opposites: pairs of opposites among the words without a partner.
    """

    __slots__ = ("dropped", "dropped_far", "first", "left", "opposites", "places", "right", "second", "soft")

    def __init__(self, first: Analysis, second: Analysis) -> None:
        self.first = first
        self.second = second
        self.dropped = 0
        self.dropped_far = 0
        self.soft = 0
        self.opposites = 0
        where: dict[str, list[int]] = {}
        keys = second.keys
        for place in range(len(keys) - 1, -1, -1):
            where.setdefault(keys[place], []).append(place)
        places = []
        left = []
        for place, key in enumerate(first.keys):
            free = where.get(key)
            if free:
                places.append(free.pop())
            else:
                places.append(-1)
                left.append(place)
        self.places = places
        self.left = left
        self.right = sorted(place for free in where.values() for place in free)
        if left and self.right:
            self._match_soft()
        if first.edits and not second.edits:
            self.left = self._drop(self.left, first)
        elif second.edits and not first.edits:
            self.right = self._drop(self.right, second)

    @property
    def symmetric(self) -> bool:
        """Whether both texts name a relation that holds both ways."""
        return not _SYMMETRIC.isdisjoint(self.first.texts) and not _SYMMETRIC.isdisjoint(self.second.texts)

    def _match_soft(self) -> None:
        first, second = self.first, self.second
        for place in self.left[:_MAX_SOFT]:
            if first.kinds[place] < K_CONTENT:
                continue
            key = first.keys[place]
            for partner in self.right[:_MAX_SOFT]:
                if second.kinds[partner] < K_CONTENT:
                    continue
                other = second.keys[partner]
                if (key, other) in OPPOSITES:
                    self.opposites += 1
                elif same_word(key, other):
                    self.places[place] = partner
                    self.soft += 1
                    self.right = [one for one in self.right if one != partner]
                    break
        self.left = [place for place in self.left if self.places[place] < 0]

    def _drop(self, extra: list[int], analysis: Analysis) -> list[int]:
        edit = analysis.edits[-1]
        kept = [place for place in extra if place >= edit]
        self.dropped = len(extra) - len(kept)
        if self.dropped:
            self.dropped_far = edit - extra[0]
        return kept


def compare(one: Analysis, other: Analysis) -> Comparison:
    """Return the two analyses side by side, in an order that does not hang on which is named first."""
    if (other.size, other.keys, other.texts, other.modifiers) < (one.size, one.keys, one.texts, one.modifiers):
        one, other = other, one
    return Comparison(one, other)
