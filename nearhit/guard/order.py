"""Order: what moved between two texts that share words, and whether such a move can change who does what."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from nearhit.guard.words import K_CONTENT, K_ENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.guard.analysis import Analysis
    from nearhit.guard.compare import Comparison

JOINING: Final = frozenset({"and", "or"})


def exchanged_words(pair: Comparison) -> bool:
    """Return whether, of the same words, two of a kind took each other's place, though not within a list.

    Two phrases are exchanged by their last words; something stands between them, and nothing else moved.
    """
    a, b, places = pair.first, pair.second, pair.places
    moved = [n for n, place in enumerate(places) if place != n]
    if not moved:
        return False
    low, high = moved[0], moved[-1]
    end, start = places.index(high), places.index(low)
    turned = [*range(start, high + 1), *range(end + 1, start), *range(low, end + 1)]
    if start <= end + 1 or [places[n] for n in turned] != list(range(low, high + 1)):
        return False
    one, other = (kind if kind >= K_CONTENT else 0 for kind in (a.kinds[end], a.kinds[high]))
    return one == other and not (_listed(a, low, high) and _listed(b, low, high))


def _listed(text: Analysis, low: int, high: int) -> bool:
    """Return whether the words from ``low`` to ``high`` are members of one list."""
    breaks = text.breaks
    separators = [text.links[place] in JOINING or place in breaks for place in range(low + 1, high + 1)]
    others = [place for place, parted in zip(range(low + 1, high + 1), separators, strict=True) if not parted]
    return any(separators) and all(text.kinds[place] == K_ENTITY and not text.links[place] for place in others)


def moves(places: Sequence[int]) -> int:
    """Return how many places must move for the rest to be in order: all less the longest rising row."""
    tails: list[int] = []
    for place in places:
        spot = bisect_left(tails, place)
        tails[spot : spot + 1] = [place]
    return len(places) - len(tails)


def exchanges(pair: Comparison) -> list[int]:
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


def walk(pair: Comparison) -> list[int]:
    """Return what a walk along the shared words finds.

    Those in another form, those that hang on another preposition, or on one in one text only; and whether the texts
    share their first word and their last.
    """
    a, b, places = pair.first, pair.second, pair.places
    links, texts = b.links, b.texts
    forms = differ = one_sided = 0
    for link, text, place in zip(a.links, a.texts, places, strict=True):
        if place >= 0:
            if text != texts[place]:
                forms += 1
            other = links[place]
            if link != other:
                if link and other:
                    differ += 1
                else:
                    one_sided += 1
    return [forms, differ, one_sided, bool(places) and not places[0], bool(places) and places[-1] == len(texts) - 1]
