"""Features: a comparison as numbers for the model; the order of the two texts does not matter."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from nearhit.guard.compare import shared_start
from nearhit.guard.detail import DETAILS, NO_DETAILS, details
from nearhit.guard.order import MOVES, moves
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
)

if TYPE_CHECKING:
    from nearhit.guard.analysis import Analysis
    from nearhit.guard.compare import Comparison

SIZES: Final = (
    "size_min", "size_max", "content_min", "content_max", "numbers", "entities", "identifiers", "first_person",
    "matched",
)  # fmt: skip
EXTRAS: Final = (
    "extra_min", "extra_max", "extra_share", "soft", "opposites", "number_min", "number_max", "identifier_min",
    "identifier_max", "entity_min", "entity_max", "date_min", "date_max", "unit_max", "content_extra_min",
    "content_extra_max", "quoted", "same_slot", "extra_letters", "extra_last_sentence", "extra_before",
)  # fmt: skip
FUNCTION_WORDS: Final = (
    "negation_odd", "negations", "prepositions", "conjunctions", "quantifiers", "pronouns", "pronoun_order",
    "auxiliaries", "temporals", "other_forms",
)  # fmt: skip
QUESTION: Final = (
    "question_differs", "question_low", "question_high", "focus", "attributes_min", "attributes_max",
    "attributes_shared",
)  # fmt: skip
ORDER: Final = (
    "moved", "runs", "moved_share", "entities_moved", "numbers_moved", "links_differ", "links_one_sided", "swaps",
    "passive", "first", "last", "prefix", "suffix", "flow_min", "flow_max", "slot_exchanges", "exchanged_entities",
    "exchanged_others", "single_runs", "longest_run", "runs_with_link", "runs_other_link", "inversions", "same_bag",
    "symmetric",
)  # fmt: skip
MODIFIERS: Final = ("modifiers", "modifiers_moved")
CORRECTIONS: Final = ("edited", "edits_both", "dropped", "dropped_far", "edited_extra", "fluent_extra")
FEATURES: Final = (
    "similarity", *SIZES, *EXTRAS, *FUNCTION_WORDS, *QUESTION, *ORDER, *MODIFIERS, *CORRECTIONS,
    # what only one of two longer texts says, and what moved: nothing in most pairs, so they come last
    *DETAILS, *MOVES,
)  # fmt: skip
"""What the model sees, group by group; each group is the values of the function with its name."""

_QUESTION_RANK: Final = {
    "command": 0, "yesno": 1, "what": 2, "which": 2, "who": 3, "where": 4, "when": 5, "how": 6, "how_many": 7,
    "how_long": 8, "how_old": 9, "why": 10,
}  # fmt: skip
_OPEN_QUESTIONS: Final = frozenset({"what", "which", "command"})
_NO_RANK: Final = 11
_JOINING: Final = frozenset({"and", "or"})
_KINDS: Final = 15
_FIRST_EXTRAS: Final = 4
_FEW_SENTENCES: Final = 2


def features(pair: Comparison, similarity: float) -> list[float]:
    """Return the values of ``FEATURES``, zeros at the end left out; the same whichever text comes first."""
    ordered, moved = order(pair)
    values = [similarity]
    values += sizes(pair, ordered[0])
    values += extras(pair, ordered[0])
    values += function_words(pair)
    values += question(pair.first, pair.second)
    values += ordered[1:]
    values += modifiers(pair)
    values += corrections(pair)
    longer = (pair.left or pair.right) and len(pair.first.sentences) + len(pair.second.sentences) > _FEW_SENTENCES
    if longer:
        values += details(pair)
    if moved:
        if not longer:
            values += NO_DETAILS
        values += moves(pair)
    return values


def sizes(pair: Comparison, matched: float) -> list[float]:
    """Return the values of ``SIZES``."""
    a, b = pair.first, pair.second
    n_a, n_b = len(a.keys), len(b.keys)
    small, large = (a.size, b.size) if a.size < b.size else (b.size, a.size)
    return [
        small, large, n_a if n_a < n_b else n_b, n_b if n_a < n_b else n_a,
        max(a.kinds.count(K_NUMBER), b.kinds.count(K_NUMBER)),
        max(a.kinds.count(K_ENTITY), b.kinds.count(K_ENTITY)),
        max(a.kinds.count(K_IDENTIFIER), b.kinds.count(K_IDENTIFIER)),
        a.first_person + b.first_person, matched,
    ]  # fmt: skip


def extras(pair: Comparison, matched: float) -> list[float]:
    """Return the values of ``EXTRAS``: what only one of the texts says."""
    a, b, left, right = pair.first, pair.second, pair.left, pair.right
    n_left, n_right = len(left), len(right)
    if not n_left and not n_right:
        return [0, 0, 0.0, pair.soft, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, len(a.quoted ^ b.quoted), 0, 0, 0, 0]
    kinds_a, kinds_b = a.kinds, b.kinds
    ca = [0] * _KINDS
    cb = [0] * _KINDS
    letters = late = 0
    for place in left:
        ca[kinds_a[place]] += 1
        late += place >= a.last_sentence
    for place in right:
        cb[kinds_b[place]] += 1
        late += place >= b.last_sentence
    for place in left[:_FIRST_EXTRAS]:
        letters += len(a.keys[place])
    for place in right[:_FIRST_EXTRAS]:
        letters += len(b.keys[place])
    values: list[float] = [
        min(n_left, n_right), max(n_left, n_right), (n_left + n_right) / (n_left + n_right + 2 * matched + 1),
        pair.soft, pair.opposites,
    ]  # fmt: skip
    for kind in (K_NUMBER, K_IDENTIFIER, K_ENTITY, K_DATE):
        one, other = ca[kind], cb[kind]
        values += (one, other) if one < other else (other, one)
    values.append(max(ca[K_UNIT], cb[K_UNIT]))
    one, other = ca[K_CONTENT] + ca[K_ENTITY], cb[K_CONTENT] + cb[K_ENTITY]
    values += (one, other) if one < other else (other, one)
    values += (
        len(a.quoted ^ b.quoted),
        _same_slot(pair) if left and right else 0,
        letters,
        late,
        n_left + n_right - late,
    )
    return values


def _same_slot(pair: Comparison) -> int:
    """Return how many neighbours the unshared words of both texts have in common: a value in the same slot."""
    a_keys, b_keys = ["", *pair.first.keys, ""], ["", *pair.second.keys, ""]
    after = {b_keys[place] for place in pair.right}
    before = {b_keys[place + 2] for place in pair.right}
    return sum([(a_keys[place] in after) + (a_keys[place + 2] in before) for place in pair.left])


def function_words(pair: Comparison) -> list[float]:
    """Return the values of ``FUNCTION_WORDS``."""
    a, b = pair.first, pair.second
    fa, fb = a.function, b.function
    one_way = bool(a.edits) != bool(b.edits)
    if one_way and a.edits:
        fa, fb = fb, fa
    values: list[float] = [0 if one_way else (a.negations ^ b.negations) & 1, a.negations + b.negations]
    for kind in (K_PREPOSITION, K_CONJUNCTION, K_QUANTIFIER, K_PRONOUN):
        one, other = fa[kind], fb[kind]
        values.append(0 if one is other else len(one - other if one_way else one ^ other))
    values.append(a.pronouns != b.pronouns)
    for kind in (K_AUXILIARY, K_TEMPORAL):
        one, other = fa[kind], fb[kind]
        values.append(0 if one is other else len(one - other if one_way else one ^ other))
    texts = b.texts
    values.append(sum([text != texts[p] for text, p in zip(a.texts, pair.places, strict=True) if p >= 0]))
    return values


def question(a: Analysis, b: Analysis) -> list[float]:
    """Return the values of ``QUESTION``."""
    one, other = a.question, b.question
    rank, other_rank = _QUESTION_RANK.get(one, _NO_RANK), _QUESTION_RANK.get(other, _NO_RANK)
    if one == other:
        differs = 0
    elif one in b.questions or other in a.questions:
        differs = 1
    elif one in _OPEN_QUESTIONS and other in _OPEN_QUESTIONS:
        differs = 2
    else:
        differs = 3 if one in _OPEN_QUESTIONS or other in _OPEN_QUESTIONS else 4
    focus = 0 if a.focus == b.focus else 3 - (a.focus in b.keys) - (b.focus in a.keys)
    left, right = len(a.attributes - b.attributes), len(b.attributes - a.attributes)
    return [
        differs, min(rank, other_rank), max(rank, other_rank), focus, min(left, right), max(left, right),
        len(a.attributes & b.attributes),
    ]  # fmt: skip


def _moves(places: list[int]) -> int:
    """Return how many places must move for the rest to be in order: all less the longest rising row."""
    tails: list[int] = []
    for place in places:
        spot = bisect_left(tails, place)
        if spot == len(tails):
            tails.append(place)
        else:
            tails[spot] = place
    return len(places) - len(tails)


def order(pair: Comparison) -> tuple[list[float], bool]:
    """Return how many words are shared and the values of ``ORDER``; and whether any of the words moved."""
    a, b = pair.first, pair.second
    places = [place for place in pair.places if place >= 0]
    matched = len(places)
    links, runs = _walk(pair, matched)
    flow = len(a.flow & b.flow)
    n_a, n_b = len(a.flow), len(b.flow)
    small, large = (n_a, n_b) if n_a < n_b else (n_b, n_a)
    prefix, suffix = shared_start(a.keys, b.keys), shared_start(a.keys[::-1], b.keys[::-1])
    if places == sorted(places):
        moved = entities = numbers = 0
        crossed: list[float] = [0, 0, 0]
    else:
        moved = _moves(places)
        kinds = a.kinds
        entities = _moves([p for i, p in enumerate(pair.places) if p >= 0 and kinds[i] == K_ENTITY])
        numbers = _moves([p for i, p in enumerate(pair.places) if p >= 0 and kinds[i] <= K_NUMBER])
        crossed = _exchanges(pair)
    return [
        matched, moved, runs[0], moved / (matched + 1), entities, numbers, *links,
        a.passive != b.passive, prefix > 0, suffix > 0, prefix, suffix, flow / (large + 1), flow / (small + 1),
        *crossed, *runs[1:], _inversions(places) if moved else 0,
        bool(moved) and not pair.left and not pair.right and a.function == b.function,
        bool(moved) and pair.symmetric,
    ], moved > 0  # fmt: skip


def modifiers(pair: Comparison) -> list[float]:
    """Return how many negations, quantities and time words both texts have, and how many stand before another word."""
    one, other = pair.first.modifiers, pair.second.modifiers
    if not one or not other:
        return [0, 0]
    places = pair.places
    end = len(places)
    stands: dict[str, set[int]] = {}
    for key, place in other:
        stands.setdefault(key, set()).add(place)
    shared = moved = 0
    for key, place in one:
        spots = stands.get(key)
        if spots:
            shared += 1
            here = places[place] if place < end else len(pair.second.keys)
            moved += here not in spots
    return [shared, moved]


def _inversions(places: list[int]) -> float:
    """Return the share of word pairs whose order is turned round."""
    seen: list[int] = []
    total = 0
    for place in places:
        spot = bisect_left(seen, place)
        total += len(seen) - spot
        seen.insert(spot, place)
    size = len(places)
    return 2 * total / (size * (size - 1))


def _exchanges(pair: Comparison) -> list[float]:
    """Return how surely shared words changed slots with each other, and how many of them are names or other words."""
    n_b = len(pair.second.keys)
    places, kinds = pair.places, pair.first.kinds
    back = {place: i for i, place in enumerate(places) if place >= 0}
    total = entities = others = 0
    for i in range(1, len(places)):
        place, anchor = places[i], places[i - 1]
        slot = anchor + 1
        if place < 0 or anchor < 0 or slot == place or slot not in back:
            continue
        rival = back[slot]
        follows = i + 1 < len(places) and slot + 1 < n_b and places[i + 1] == slot + 1
        returns = rival > 0 and place > 0 and places[rival - 1] == place - 1
        total += 1 + 2 * follows + returns
        if follows or returns:
            if kinds[i] == kinds[rival] == K_ENTITY:
                entities += 1
            else:
                others += 1
    return [total, entities, others]


def _walk(pair: Comparison, matched: int) -> tuple[list[float], list[float]]:
    """Return what one walk along the shared words finds: their prepositions, and the runs that stayed together.

    First: words that hang on another preposition, on one in one text only, and swapped neighbours. Then: how often
    the order breaks, runs of one word, the share of the longest run, and breaks at a like and at another preposition.
    """
    differ = one_sided = swaps = breaks = singles = longest = same = other_link = size = 0
    last = -2
    lb = pair.second.links
    for link, place in zip(pair.first.links, pair.places, strict=True):
        if place < 0:
            continue
        other = lb[place]
        if link != other:
            if link and other:
                differ += 1
            else:
                one_sided += 1
        if place == last + 1:
            size += 1
        else:
            singles += size == 1
            if size > longest:
                longest = size
            size = 1
            breaks += 1
            if link != other:
                other_link += 1
            elif link:
                same += 1
            if place < last and link not in _JOINING and other not in _JOINING:
                swaps += 1
        last = place
    runs = [max(breaks - 1, 0), singles + (size == 1), max(longest, size) / (matched + 1), same, other_link]
    return [differ, one_sided, swaps], runs


def corrections(pair: Comparison) -> list[float]:
    """Return the values of ``CORRECTIONS``: where one of two speakers corrected himself."""
    a, b = pair.first, pair.second
    if bool(a.edits) == bool(b.edits):
        return [0, bool(a.edits), 0, 0, 0, 0]
    edited, fluent = (pair.left, pair.right) if a.edits else (pair.right, pair.left)
    return [1, 0, pair.dropped, pair.dropped_far, len(edited), len(fluent)]
