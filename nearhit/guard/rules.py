"""Rules: single differences that refuse a pair whose texts are otherwise the same; they hold for any data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nearhit.guard.order import exchanged_values
from nearhit.guard.verdict import RefusalReason
from nearhit.guard.words import (
    K_AUXILIARY,
    K_CONJUNCTION,
    K_DATE,
    K_ENTITY,
    K_IDENTIFIER,
    K_NUMBER,
    K_PREPOSITION,
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
    reason = _other_value(pair) if pair.left and pair.right else None
    if reason is not None:
        return reason
    if len(pair.left) > 1 or len(pair.right) > 1:
        return None
    reason = _other_question(pair)
    if reason is not None or pair.left or pair.right:
        return reason
    return _other_function(pair) or _other_roles(pair)


def _other_value(pair: Comparison) -> RefusalReason | None:
    """Return the kind of value for which each text has one that the other lacks; of one word each, why it differs."""
    left = [pair.first.kinds[place] for place in pair.left]
    right = [pair.second.kinds[place] for place in pair.right]
    for kind, reason in _VALUES:
        if kind in left and kind in right:
            return reason
    if len(left) > 1 or len(right) > 1:
        return None
    if pair.opposites:
        return RefusalReason.ANTONYM
    return RefusalReason.UNIT if left == right == [K_UNIT] else None


def _other_question(pair: Comparison) -> RefusalReason | None:
    """Return why little differs and the question is another: *before* or *after*, *in* or *out*, *who* or *when*."""
    if _opposed(pair, K_TEMPORAL):
        return RefusalReason.BEFORE_AFTER
    if _opposed(pair, K_PREPOSITION):
        return RefusalReason.ROLE
    one, other = pair.first.questions, pair.second.questions
    if len(one) == len(other) == 1 and one != other and one[0] in _OWN_QUESTIONS and other[0] in _OWN_QUESTIONS:
        return RefusalReason.QUESTION_TYPE
    return None


_OWN_QUESTIONS: Final = frozenset({"who", "when", "where", "why", "how_many", "how_much", "how_long", "how_old"})


def _opposed(pair: Comparison, kind: int) -> bool:
    one, other = pair.first.function[kind], pair.second.function[kind]
    if one == other:
        return False
    return any((word, opposite) in OPPOSITES for word in one - other for opposite in other - one)


def _other_function(pair: Comparison) -> RefusalReason | None:
    """Return which function word turns the meaning round, in texts whose content is the same."""
    a, b = pair.first, pair.second
    if (a.negations ^ b.negations) & 1:
        said, asked = (a, b) if a.negations & 1 else (b, a)
        # "I cannot do it" asks what "how can I do it" asks
        if not (said.complains and (asked.questions or asked.question == "yesno")):
            return RefusalReason.NEGATION
    if _opposed(pair, K_QUANTIFIER):
        return RefusalReason.COMPARISON
    one, other = a.function[K_CONJUNCTION], b.function[K_CONJUNCTION]
    # "between x and y" offers a choice: there, "and" says "or"
    offered = not _CHOICE.isdisjoint(a.function[K_PREPOSITION] | b.function[K_PREPOSITION])
    if ("or" in one) != ("or" in other) and ("and" in one) != ("and" in other) and not offered:
        return RefusalReason.CONNECTIVE
    if (a.function[K_AUXILIARY] ^ b.function[K_AUXILIARY]) & _CHANGES:
        return RefusalReason.TENSE
    return None


_CHOICE: Final = frozenset({"between", "among"})


def _other_roles(pair: Comparison) -> RefusalReason | None:
    """Return ``role`` where the same words say that somebody else does it."""
    a, b = pair.first, pair.second
    if a.size > _VERY_SHORT or b.size > _VERY_SHORT:
        return None
    in_order = pair.places == sorted(pair.places)
    if in_order:
        people, others = ([_PEOPLE.get(word, word) for word in text.pronouns] for text in (a, b))
        swapped = a.passive != b.passive or (a.pronouns != b.pronouns and sorted(people) == sorted(others))
        return RefusalReason.ROLE if swapped else None
    if a.size != b.size or sorted(a.words) != sorted(b.words) or pair.symmetric:
        return None
    return RefusalReason.ROLE if exchanged_values(pair) or _swapped_links(pair) else None


_JOINING: Final = frozenset({"and", "or"})
_SWAPPED: Final = frozenset({K_ENTITY, K_UNIT, K_DATE, K_NUMBER})


def _swapped_links(pair: Comparison) -> bool:
    """Return whether two words changed their prepositions with each other: *from x to y*, *from y to x*."""
    a, links = pair.first, pair.second.links
    changes: set[tuple[str, str]] = set()
    for one, place, kind in zip(a.links, pair.places, a.kinds, strict=True):
        other = links[place]
        if one != other and _JOINING.isdisjoint((one, other)) and (kind in _SWAPPED or (one and other)):
            if (other, one) in changes:
                return True
            changes.add((one, other))
    return False


_PEOPLE: Final = {"him": "he", "his": "he", "her": "she", "hers": "she", "them": "they", "their": "they"}
