"""Rules: differences that alone refuse, where the texts are otherwise the same; they hold for any data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nearhit.guard.verdict import RefusalReason
from nearhit.guard.words import (
    K_AUXILIARY,
    K_CONJUNCTION,
    K_DATE,
    K_ENTITY,
    K_IDENTIFIER,
    K_NUMBER,
    K_QUANTIFIER,
    K_TEMPORAL,
    K_UNIT,
    OPPOSITES,
)

if TYPE_CHECKING:
    from nearhit.guard.compare import Comparison

# A rule looks at short texts only: in a long one, a value may be said in another way somewhere else.
_SHORT: Final = 30
_VERY_SHORT: Final = 16
_VALUES: Final = (
    (K_NUMBER, RefusalReason.NUMBER),
    (K_DATE, RefusalReason.DATE),
    (K_IDENTIFIER, RefusalReason.IDENTIFIER),
)
_CHANGES: Final = frozenset({"used", "becoming"})


def veto(pair: Comparison) -> RefusalReason | None:
    """Return why the texts cannot share an answer, or ``None`` where that is for the model to say."""
    if pair.first.edits or pair.second.edits or pair.second.size > _SHORT or pair.first.size > _SHORT:
        return None
    left, right = len(pair.left), len(pair.right)
    if left and right:
        reason = _other_value(pair)
        if reason is not None:
            return reason
        if pair.opposites and left == right == 1:
            return RefusalReason.ANTONYM
    if left > 1 or right > 1:
        return None
    if _opposed(pair, K_TEMPORAL):
        return RefusalReason.BEFORE_AFTER
    if left or right:
        return None
    return _other_function(pair) or _other_roles(pair)


def _other_value(pair: Comparison) -> RefusalReason | None:
    """Return the kind of value for which each text has one that the other lacks."""
    left = [pair.first.kinds[place] for place in pair.left]
    right = [pair.second.kinds[place] for place in pair.right]
    for kind, reason in _VALUES:
        if kind in left and kind in right:
            return reason
    return None


def _opposed(pair: Comparison, kind: int) -> bool:
    one, other = pair.first.function[kind], pair.second.function[kind]
    if one == other:
        return False
    return any((word, opposite) in OPPOSITES for word in one - other for opposite in other - one)


def _other_function(pair: Comparison) -> RefusalReason | None:
    """Return which function word turns the meaning round, in texts whose content is the same."""
    a, b = pair.first, pair.second
    if (a.negations ^ b.negations) & 1:
        return RefusalReason.NEGATION
    if _opposed(pair, K_QUANTIFIER):
        return RefusalReason.COMPARISON
    one, other = a.function[K_CONJUNCTION], b.function[K_CONJUNCTION]
    if ("or" in one) != ("or" in other) and ("and" in one) != ("and" in other):
        return RefusalReason.CONNECTIVE
    if (a.function[K_AUXILIARY] ^ b.function[K_AUXILIARY]) & _CHANGES:
        return RefusalReason.TENSE
    return None


def _other_roles(pair: Comparison) -> RefusalReason | None:
    """Return ``role`` where the same words say that somebody else does it."""
    a, b = pair.first, pair.second
    if a.size > _VERY_SHORT or b.size > _VERY_SHORT:
        return None
    in_order = pair.places == sorted(pair.places)
    if in_order:
        swapped = a.passive != b.passive or (a.pronouns != b.pronouns and _same_people(a.pronouns, b.pronouns))
        return RefusalReason.ROLE if swapped else None
    if a.size != b.size or sorted(a.words) != sorted(b.words) or pair.symmetric:
        return None
    values = [place for place, kind in zip(pair.places, a.kinds, strict=True) if kind in _SWAPPED]
    return RefusalReason.ROLE if values != sorted(values) or _swapped_links(pair) else None


_SWAPPED: Final = frozenset({K_ENTITY, K_UNIT, K_DATE, K_NUMBER})


def _swapped_links(pair: Comparison) -> bool:
    """Return whether two words changed their prepositions with each other: *from x to y*, *from y to x*."""
    links = pair.second.links
    changes = {(one, links[place]) for one, place in zip(pair.first.links, pair.places, strict=True)}
    return any(one and other and one != other and (other, one) in changes for one, other in changes)


_PEOPLE: Final = {"him": "he", "his": "he", "her": "she", "hers": "she", "them": "they", "their": "they"}


def _same_people(one: list[str], other: list[str]) -> bool:
    return sorted(_PEOPLE.get(word, word) for word in one) == sorted(_PEOPLE.get(word, word) for word in other)
