"""Reasons: which differences between two texts can change an answer, the most telling first."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from nearhit.guard.verdict import Difference, RefusalReason
from nearhit.guard.words import (
    K_AUXILIARY,
    K_CONJUNCTION,
    K_DATE,
    K_ENTITY,
    K_IDENTIFIER,
    K_NUMBER,
    K_PREPOSITION,
    K_PRONOUN,
    K_QUANTIFIER,
    K_TEMPORAL,
    K_UNIT,
    KIND_OF,
    OPPOSITES,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from nearhit.guard.compare import Comparison

_BY_KIND: Final = (
    (K_NUMBER, RefusalReason.NUMBER),
    (K_DATE, RefusalReason.DATE),
    (K_UNIT, RefusalReason.UNIT),
    (K_IDENTIFIER, RefusalReason.IDENTIFIER),
    (K_ENTITY, RefusalReason.ENTITY),
)
_BY_FUNCTION: Final = (
    (K_CONJUNCTION, RefusalReason.CONNECTIVE),
    (K_QUANTIFIER, RefusalReason.QUANTIFIER),
    (K_PRONOUN, RefusalReason.ROLE),
    (K_AUXILIARY, RefusalReason.TENSE),
)


def differences(pair: Comparison) -> tuple[Difference, ...]:
    """Return what only one of the two texts says, the most telling first."""
    return tuple(_differences(pair))


def first_reason(pair: Comparison) -> RefusalReason:
    """Return the reason of the most telling difference; ``low_confidence`` where there is none to name."""
    found = next(_differences(pair), None)
    return found.reason if found else RefusalReason.LOW_CONFIDENCE


def _differences(pair: Comparison) -> Iterator[Difference]:
    a, b = pair.first, pair.second
    if a.negations != b.negations and pair.denied and not (a.edits or b.edits):
        yield Difference(RefusalReason.NEGATION, "not" * (a.negations & 1), "not" * (b.negations & 1))
    if pair.opposites:
        words = product([a.keys[place] for place in pair.left], [b.keys[place] for place in pair.right])
        yield from (Difference(RefusalReason.ANTONYM, *two) for two in words if two in OPPOSITES)
    if a.quoted and b.quoted and a.quoted != b.quoted:
        yield Difference(RefusalReason.QUOTED, _joined(a.quoted - b.quoted), _joined(b.quoted - a.quoted))
    yield from _values(pair)
    yield from _function(pair, K_TEMPORAL, RefusalReason.BEFORE_AFTER)
    if pair.left and pair.right:
        focused = a.focus in pair.left or b.focus in pair.right
        reason = RefusalReason.ATTRIBUTE if focused else RefusalReason.SLOT_VALUE
        yield Difference(reason, _words(a.keys, pair.left), _words(b.keys, pair.right))
    if a.question != b.question and not ({a.question, b.question} <= {"what", "which", "command"}):
        yield Difference(RefusalReason.QUESTION_TYPE, a.question, b.question)
    for kind, reason in _BY_FUNCTION:
        yield from _function(pair, kind, reason)
    if bool(pair.left) != bool(pair.right):
        yield Difference(RefusalReason.DETAIL, _words(a.keys, pair.left), _words(b.keys, pair.right))
    yield from _order(pair)


def _values(pair: Comparison) -> Iterator[Difference]:
    kinds = {pair.first.kinds[place] for place in pair.left} | {pair.second.kinds[place] for place in pair.right}
    for kind, reason in _BY_KIND:
        if kind not in kinds:
            continue
        left = _of_kind(pair.first.keys, pair.first.kinds, pair.left, kind)
        right = _of_kind(pair.second.keys, pair.second.kinds, pair.right, kind)
        yield Difference(reason, left, right)


def _function(pair: Comparison, kind: int, reason: RefusalReason) -> Iterator[Difference]:
    if pair.first.function == pair.second.function:
        return
    one, other = ({key for key in text.function if KIND_OF[key] == kind} for text in (pair.first, pair.second))
    if one != other:
        yield Difference(reason, _joined(one - other), _joined(other - one))


def _order(pair: Comparison) -> Iterator[Difference]:
    matched = [place for place in pair.places if place >= 0]
    if matched != sorted(matched):
        in_prompt = [key for key, place in zip(pair.first.keys, pair.places, strict=True) if place >= 0]
        in_candidate = [pair.second.keys[place] for place in sorted(matched)]
        reason = RefusalReason.ROLE if pair.first.passive != pair.second.passive else RefusalReason.ORDER
        yield Difference(reason, " ".join(in_prompt), " ".join(in_candidate))
    elif pair.first.passive != pair.second.passive:
        yield Difference(RefusalReason.ROLE, "passive" * pair.first.passive, "passive" * pair.second.passive)
    yield from _function(pair, K_PREPOSITION, RefusalReason.ROLE)


def _of_kind(keys: list[str], kinds: list[int], places: list[int], kind: int) -> str:
    return " ".join(keys[place] for place in places if kinds[place] == kind)


def _words(keys: list[str], places: list[int]) -> str:
    return " ".join(keys[place] for place in places)


def _joined(words: Set[str]) -> str:
    return " ".join(sorted(words))
