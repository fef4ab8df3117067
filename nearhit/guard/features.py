"""Features: a comparison as numbers for the model; the order of the two texts does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nearhit.guard.order import exchanges, moves, walk
from nearhit.guard.words import (
    K_AUXILIARY,
    K_CONJUNCTION,
    K_CONTENT,
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
)

if TYPE_CHECKING:
    from nearhit.guard.compare import Comparison

BASE: Final = ("similarity", "size_min", "size_max", "plain", "opposites")
FUNCTION_WORDS: Final = (
    "negation_odd", "negations", "prepositions", "conjunctions", "quantifiers", "pronouns", "pronoun_order",
    "auxiliaries", "temporals",
)  # fmt: skip
ORDER: Final = ("passive", "other_forms", "links_differ", "links_one_sided", "first", "last")
EXTRAS: Final = (
    "extra_min", "extra_max", "extra_share", "number_min", "number_max", "identifier_min", "identifier_max",
    "entity_min", "entity_max", "date_min", "date_max", "unit_max", "content_min", "content_max",
    "extra_last_sentence", "extra_before",
)  # fmt: skip
MOVED: Final = (
    "moved", "entities_moved", "numbers_moved", "slot_exchanges", "exchanged_entities", "exchanged_others", "symmetric",
)  # fmt: skip
FEATURES: Final = (*BASE, *FUNCTION_WORDS, *ORDER, *EXTRAS, *MOVED)
"""What the model sees, group by group; each group is the values of the function with its name."""

_NO_EXTRAS: Final = [0.0] * len(EXTRAS)


def features(pair: Comparison, similarity: float) -> list[float]:
    """Return the values of ``FEATURES``, zeros at the end left out; the same whichever text comes first."""
    a, b = pair.first, pair.second
    values = [similarity, a.size, b.size, a.plain, pair.opposites]
    values += function_words(pair)
    values += order(pair)
    if pair.left or pair.right:
        values += extras(pair)
    if not pair.in_order:
        if len(values) < _START_OF_MOVED:
            values += _NO_EXTRAS
        values += moved(pair)
    return values


_START_OF_MOVED: Final = len(FEATURES) - len(MOVED)


def function_words(pair: Comparison) -> list[float]:
    """Return the values of ``FUNCTION_WORDS``."""
    a, b = pair.first, pair.second
    if a.function == b.function and a.pronouns == b.pronouns:
        return [a.negations != b.negations and pair.denied, a.negations + b.negations, 0, 0, 0, 0, 0, 0, 0]
    counts = [0] * K_DATE
    if bool(a.edits) == bool(b.edits):
        odd = a.negations != b.negations and pair.denied
        differing = a.function ^ b.function
    else:  # what one speaker took back is no difference
        odd = False
        differing = b.function - a.function if a.edits else a.function - b.function
    for key in differing:
        counts[KIND_OF[key]] += 1
    return [
        odd, a.negations + b.negations, counts[K_PREPOSITION], counts[K_CONJUNCTION], counts[K_QUANTIFIER],
        counts[K_PRONOUN], a.pronouns != b.pronouns, counts[K_AUXILIARY], counts[K_TEMPORAL],
    ]  # fmt: skip


def order(pair: Comparison) -> list[float]:
    """Return the values of ``ORDER``."""
    a, b = pair.first, pair.second
    passive = ("by" in a.function or "by" in b.function) and a.passive != b.passive
    if a.texts == b.texts and a.links == b.links:
        return [passive, 0, 0, 0, 1, 1]
    return [passive, *walk(pair)]


def extras(pair: Comparison) -> list[float]:
    """Return the values of ``EXTRAS``: what only one of the texts says."""
    a, b, left, right = pair.first, pair.second, pair.left, pair.right
    n_left, n_right = len(left), len(right)
    kinds = [a.kinds[place] for place in left]
    other_kinds = [b.kinds[place] for place in right]
    start, other_start = a.last_sentence, b.last_sentence
    total = late = n_left + n_right
    if start:
        late -= sum([place < start for place in left])
    if other_start:
        late -= sum([place < other_start for place in right])
    matched = len(a.keys) - pair.places.count(-1)
    values: list[float] = [n_left, n_right] if n_left < n_right else [n_right, n_left]
    values.append(total / (total + 2 * matched + 1))
    present = {*kinds, *other_kinds}
    for kind in _PAIRED:
        if kind in present:
            one, other = kinds.count(kind), other_kinds.count(kind)
            values += (one, other) if one < other else (other, one)
        else:
            values += (0, 0)
    values.append(max(kinds.count(K_UNIT), other_kinds.count(K_UNIT)))
    one = kinds.count(K_CONTENT) + kinds.count(K_ENTITY)
    other = other_kinds.count(K_CONTENT) + other_kinds.count(K_ENTITY)
    values += (one, other) if one < other else (other, one)
    values += (late, total - late)
    return values


_PAIRED: Final = (K_NUMBER, K_IDENTIFIER, K_ENTITY, K_DATE)


def moved(pair: Comparison) -> list[float]:
    """Return the values of ``MOVED`` for a pair in which shared words stand in another order."""
    kinds = pair.first.kinds
    shared = [(place, kinds[i]) for i, place in enumerate(pair.places) if place >= 0]
    return [
        moves([place for place, _ in shared]), moves([place for place, kind in shared if kind == K_ENTITY]),
        moves([place for place, kind in shared if kind <= K_NUMBER]), *exchanges(pair), pair.symmetric,
    ]  # fmt: skip
