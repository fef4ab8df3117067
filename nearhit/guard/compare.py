"""Comparison: what two analysed texts share, in which order, and what only one of them says."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from nearhit.guard.analysis import Analysis, analyse
from nearhit.guard.words import K_CONTENT, OPPOSITES

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_SOFT: Final = 6
# Endings that derive one word from another and leave what it is about; "less" and "un-" turn it round.
_DERIVED: Final = """ion ation ition er or ing ment al ally ity ness ive ic ical ist ism ance ence able ible ful
ous y i e t ant ent ary ery ure age at ate ator ative iz ize ise is ization isation an ian
ish ship hood dom th ly r d n"""
_SUFFIXES: Final = frozenset(["", *_DERIVED.split()])
_STEM: Final = 0.6


def shared_start(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items the two share at their beginning."""
    shared = 0
    for left, right in zip(one, other):  # noqa: B905 - as far as the shorter goes
        if left != right:
            break
        shared += 1
    return shared


@lru_cache(maxsize=32768)
def same_word(one: str, other: str, plain: bool = False) -> bool:
    """Return whether two different keys are one word, misspelt or derived; ``plain`` words may have any ending."""
    short, long = (one, other) if (len(one), one) <= (len(other), other) else (other, one)
    if len(short) < 4 or not short.isalpha() or not long.isalpha():
        return False
    shared = shared_start(short, long)
    if shared >= 4 and (shared >= _STEM * len(long) if plain else {short[shared:], long[shared:]} <= _SUFFIXES):
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
# What somebody asks for who complains that he cannot do a thing.
_ASKED: Final = frozenset({"how", "where"})


class Comparison:
    """Two analyses side by side. Read only.

    Attributes:
        places: for each content word of the first text its partner's place in the second, or -1.
        left: places of the first text's words without a partner.
        right: places of the second text's words without a partner.
        opposites: pairs of opposites among the words without a partner.
        in_order: the shared words stand in one order.
    """

    __slots__ = ("first", "in_order", "left", "opposites", "places", "right", "second")

    def __init__(self, first: Analysis, second: Analysis) -> None:
        self.first = first
        self.second = second
        self.opposites = 0
        ours, theirs = first.where, second.where
        self.left: list[int] = []
        self.right: list[int] = []
        if first.keys == second.keys:
            self.places = list(range(len(first.keys)))
            self.in_order = True
            return
        if len(ours) == len(first.keys) and len(theirs) == len(second.keys):
            self.places = [theirs.get(key, -1) for key in first.keys]
            self.right = [place for place, key in enumerate(second.keys) if key not in ours]
        else:
            self._match_repeated()
        self.left = [place for place, partner in enumerate(self.places) if partner < 0]
        if self.left and self.right:
            self._match_soft()
        if first.edits and not second.edits:
            self.left = [place for place in self.left if place >= first.edits[-1]]
        elif second.edits and not first.edits:
            self.right = [place for place in self.right if place >= second.edits[-1]]
        matched = [place for place in self.places if place >= 0]
        self.in_order = matched == sorted(matched)

    @property
    def same_words(self) -> bool:
        """Whether the texts are the same, word for word."""
        a, b = self.first, self.second
        return a.size == b.size and a.keys == b.keys and a.surface == b.surface

    @property
    def denied(self) -> bool:
        """Whether one text denies what the other does not; "I cannot do it" asks what "how can I do it" asks.

        In a condition, a negation is no complaint: "if I cannot do it" says another thing than "if I can".
        """
        a, b = self.first, self.second
        if not (a.negations ^ b.negations) & 1:
            return False
        said, asked = (a, b) if a.negations & 1 else (b, a)
        return not (said.complains and asked.question in _ASKED and not (a.conditional or b.conditional))

    @property
    def symmetric(self) -> bool:
        """Whether both texts name a relation that holds both ways."""
        return not _SYMMETRIC.isdisjoint(self.first.texts) and not _SYMMETRIC.isdisjoint(self.second.texts)

    def _match_repeated(self) -> None:
        """Match words of which some stand several times: the first with the first."""
        where: dict[str, list[int]] = {}
        keys = self.second.keys
        for place in range(len(keys) - 1, -1, -1):
            where.setdefault(keys[place], []).append(place)
        self.places = [where[key].pop() if where.get(key) else -1 for key in self.first.keys]
        self.right = sorted(place for free in where.values() for place in free)

    def _match_soft(self) -> None:
        """Match words that are one, misspelt or derived."""
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
                elif same_word(key, other, first.plain):
                    self.places[place] = partner
                    self.right.remove(partner)
                    break
        self.left = [place for place in self.left if self.places[place] < 0]


def compare(one: Analysis, other: Analysis) -> Comparison:
    """Return the two analyses side by side, in an order that does not hang on which is named first."""
    if one.size == other.size:
        turned = other.keys < one.keys or (other.keys == one.keys and other.surface < one.surface)
    else:
        turned = other.size < one.size
    return Comparison(other, one) if turned else Comparison(one, other)


def compare_texts(one: str, other: str, plain: bool = False) -> Comparison:
    """Return two texts side by side: as in a language that is not known where one of them is, or when ``plain``."""
    first, second = analyse(one), analyse(other)
    if plain or first.plain or second.plain:
        first, second = analyse(one, True), analyse(other, True)
    return compare(first, second)
