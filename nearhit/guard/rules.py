"""Rules: single differences that refuse a pair whose texts are otherwise the same; they hold for any data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nearhit.guard.order import JOINING, exchanged_words
from nearhit.guard.verdict import RefusalReason
from nearhit.guard.words import (
    K_DATE,
    K_ENTITY,
    K_IDENTIFIER,
    K_NUMBER,
    K_PREPOSITION,
    K_QUANTIFIER,
    K_TEMPORAL,
    K_UNIT,
    KIND_OF,
    OPPOSITES,
    stem,
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
    a, b = pair.first, pair.second
    left, right = len(pair.left), len(pair.right)
    if b.size > _SHORT or a.edits or b.edits:
        return None
    reason = other_value(pair) if left and right else None
    if reason is not None or left > 1 or right > 1:
        return reason
    if not a.plain and a.function != b.function:
        reason = other_question(pair)
        if reason is None and not left and not right:
            reason = other_function(pair)
    return reason if reason is not None or left or right else other_roles(pair)


def other_value(pair: Comparison) -> RefusalReason | None:
    """Return the kind of value for which each text has one that the other lacks; of one word each, why it differs."""
    left = [pair.first.kinds[place] for place in pair.left]
    right = [pair.second.kinds[place] for place in pair.right]
    for kind, reason in _VALUES:
        if kind in left and kind in right:
            return reason
    a, b = pair.first, pair.second
    if (
        a.focus in pair.left
        and b.focus in pair.right
        and (a.keys[a.focus] in _TIMES) != (b.keys[b.focus] in _TIMES)
        and {*a.questions, *b.questions} <= {"what", "which"}
    ):
        return RefusalReason.QUESTION_TYPE
    if len(left) > 1 or len(right) > 1:
        return None
    if pair.opposites:
        return RefusalReason.ANTONYM
    return RefusalReason.UNIT if left == right == [K_UNIT] else None


# What a question for a time asks for: *which year* is no *which street*.
_TIMES: Final = frozenset(map(stem, ("year", "month", "week", "day", "date", "century", "decade", "season")))


def opposed(pair: Comparison, kind: int) -> bool:
    """Return whether each text has a function word of ``kind`` whose opposite the other has."""
    one, other = ([key for key in words if KIND_OF[key] == kind] for words in _only(pair))
    return any((word, opposite) in OPPOSITES for word in one for opposite in other)


def _only(pair: Comparison) -> tuple[frozenset[str], frozenset[str]]:
    one, other = pair.first.function, pair.second.function
    return one - other, other - one


def other_question(pair: Comparison) -> RefusalReason | None:
    """Return why little differs and the question is another: *before* or *after*, *in* or *out*, *who* or *when*."""
    if opposed(pair, K_TEMPORAL):
        return RefusalReason.BEFORE_AFTER
    if opposed(pair, K_PREPOSITION):
        return RefusalReason.ROLE
    one, other = pair.first.questions, pair.second.questions
    if len(one) == len(other) == 1 and one != other and one[0] in _OWN_QUESTIONS and other[0] in _OWN_QUESTIONS:
        return RefusalReason.QUESTION_TYPE
    return None


_OWN_QUESTIONS: Final = frozenset({"who", "when", "where", "why", "how_many", "how_much", "how_long", "how_old"})
_CHOICE: Final = frozenset({"between", "among"})


def other_function(pair: Comparison) -> RefusalReason | None:
    """Return which function word turns the meaning round, in texts whose content is the same."""
    if pair.denied:
        return RefusalReason.NEGATION
    if opposed(pair, K_QUANTIFIER):
        return RefusalReason.COMPARISON
    one, other = _only(pair)
    # "between x and y" offers a choice: there, "and" says "or"
    if {*one, *other} >= {"and", "or"} and _CHOICE.isdisjoint(pair.first.function | pair.second.function):
        return RefusalReason.CONNECTIVE
    return RefusalReason.TENSE if not _CHANGES.isdisjoint(one | other) else None


def other_roles(pair: Comparison) -> RefusalReason | None:
    """Return ``role`` where the same words say that somebody else does it."""
    a, b = pair.first, pair.second
    if pair.in_order:
        if b.size > _VERY_SHORT:
            return None
        people, others = ([_PEOPLE.get(word, word) for word in text.pronouns] for text in (a, b))
        swapped = a.passive != b.passive or (a.pronouns != b.pronouns and sorted(people) == sorted(others))
        return RefusalReason.ROLE if swapped else None
    if a.size != b.size or sorted(a.surface) != sorted(b.surface) or pair.symmetric:
        return None
    swapped = exchanged_words(pair) or (b.size <= _VERY_SHORT and swapped_links(pair))
    return RefusalReason.ROLE if swapped else None


_SWAPPED: Final = frozenset({K_ENTITY, K_UNIT, K_DATE, K_NUMBER})


def swapped_links(pair: Comparison) -> bool:
    """Return whether two words changed their prepositions with each other: *from x to y*, *from y to x*."""
    a, links = pair.first, pair.second.links
    changes: set[tuple[str, str]] = set()
    for one, place, kind in zip(a.links, pair.places, a.kinds, strict=True):
        other = links[place]
        if one != other and JOINING.isdisjoint((one, other)) and (kind in _SWAPPED or (one and other)):
            if (other, one) in changes:
                return True
            changes.add((one, other))
    return False


_PEOPLE: Final = {"him": "he", "his": "he", "her": "she", "hers": "she", "them": "they", "their": "they"}
