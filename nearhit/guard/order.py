"""Order: what moved between two texts that share words, and whether such a move can change who does what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nearhit.guard.words import K_CONTENT, K_ENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.guard.analysis import Analysis
    from nearhit.guard.compare import Comparison

EXCHANGED: Final = (
    "exchanged_names", "exchanged_values", "exchanged_words", "exchanged_mixed", "exchanged_listed", "exchanged_long",
)  # fmt: skip
TURNED: Final = (
    "turned_single", "turned_listed", "turned_linked", "turned_paused", "turned_bare", "turned_short",
)  # fmt: skip
JOINTS: Final = (
    "blocks_listed", "blocks_linked", "blocks_relinked", "blocks_paused", "blocks_bare", "bare_names", "bare_values",
)  # fmt: skip
CLAUSES: Final = ("clause_left", "clause_kept")
INVERSIONS: Final = ("name_inversions", "value_inversions", "near_inversions", "name_word_inversions")
LONELY: Final = ("lonely_names", "lonely_words", "lonely_values")
MOVES: Final = ("blocks", *EXCHANGED, *TURNED, *JOINTS, *CLAUSES, *INVERSIONS, *LONELY)
"""What ``moves`` returns, group by group; each group is the values of the function with its name."""

_LIST: Final = frozenset({"and", "or"})
_NAME, _VALUE, _WORD = range(3)
_MAX_WORDS: Final = 60


def exchanged_values(pair: Comparison) -> bool:
    """Return whether two names, or two values, took each other's place, though not within a list."""
    found = moves(pair)
    return found[1] + found[2] > found[5]


def moves(pair: Comparison) -> list[float]:
    """Return the values of ``MOVES`` for a pair in which shared words stand in another order."""
    a, b = pair.first, pair.second
    at = [i for i, place in enumerate(pair.places) if place >= 0][:_MAX_WORDS]
    to = [pair.places[i] for i in at]
    rank = {place: n for n, place in enumerate(sorted(to))}
    order = [rank[place] for place in to]
    kinds = [_NAME if k == K_ENTITY else _WORD if k >= K_CONTENT else _VALUE for k in [a.kinds[i] for i in at]]
    starts = [n for n, place in enumerate(order) if not n or place != order[n - 1] + 1]
    joined = [_joint(a, b, at[n], to[n]) for n in starts]
    sizes = [end - start for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]
    heads = [kinds[start + size - 1] for start, size in zip(starts, sizes, strict=True)]
    firsts = [order[start] for start in starts]
    ranks = {place: n for n, place in enumerate(sorted(firsts))}
    blocks = [ranks[place] for place in firsts]
    spots = [(at[n], to[n]) for n in starts]
    return [
        len(blocks), *exchanged(pair, blocks, heads, sizes, spots), *turned(blocks, sizes, joined),
        *joints(joined, heads), *clauses(a, b, at, to), *inversions(order, kinds), *lonely(order, kinds),
    ]  # fmt: skip


_LISTED, _LINKED, _RELINKED, _PAUSED, _BARE = range(5)


def _joint(a: Analysis, b: Analysis, i: int, j: int) -> int:
    """Return how the block that begins at ``i`` in one text and ``j`` in the other is joined to what precedes it."""
    one, other = a.links[i], b.links[j]
    paused, other_paused = i in a.breaks or not i, j in b.breaks or not j
    if (one in _LIST or paused) and (other in _LIST or other_paused):
        return _LISTED if one in _LIST or other in _LIST else _PAUSED
    if one and one == other:
        return _LINKED
    if one and other:
        return _RELINKED
    return _PAUSED if paused or other_paused else _BARE


def exchanged(
    pair: Comparison,
    blocks: Sequence[int],
    heads: Sequence[int],
    sizes: Sequence[int],
    spots: Sequence[tuple[int, int]],
) -> list[float]:
    """Return how many blocks took each other's place, by kind, within a list, and of several words."""
    at = {place: n for n, place in enumerate(blocks)}
    last = len(blocks) - 1
    found = [0.0] * 6
    for i in range(last + 1):
        k = at.get(blocks[i - 1] + 1 if i else 0, -1)
        if k <= i + 1:
            continue
        p, q = blocks[i], blocks[k]
        votes = (
            1
            + ((blocks[i + 1] if i < last else last + 1) == q + 1)
            + (blocks[k - 1] == p - 1)
            + ((blocks[k + 1] if k < last else last + 1) == p + 1)
        )
        if votes < 3:
            continue
        found[heads[i] if heads[i] == heads[k] else 3] += 1
        found[4] += _listed(pair.first, spots[i][0], spots[k][0]) and _listed(pair.second, spots[k][1], spots[i][1])
        found[5] += sizes[i] > 1 or sizes[k] > 1
    return found


def _listed(text: Analysis, low: int, high: int) -> bool:
    """Return whether the words from ``low`` to ``high`` are members of one list."""
    if low > high:
        low, high = high, low
    separators = 0
    for place in range(low + 1, high + 1):
        link = text.links[place]
        if link in _LIST or place in text.breaks:
            separators += 1
        elif link or text.kinds[place] != K_ENTITY:
            return False
    return separators > 0


def turned(blocks: Sequence[int], sizes: Sequence[int], joined: Sequence[int]) -> list[float]:
    """Return how many neighbouring blocks changed sides, by how they are joined."""
    single = listed = linked = paused = bare = short = 0
    for n in range(len(blocks) - 1):
        if blocks[n] != blocks[n + 1] + 1:
            continue
        one, other = joined[n], joined[n + 1]
        single += sizes[n] == sizes[n + 1] == 1
        short += sizes[n] == 1 or sizes[n + 1] == 1
        if one == _LISTED or other == _LISTED:
            listed += 1
        elif _LINKED in (one, other):
            linked += 1
        elif _PAUSED in (one, other):
            paused += 1
        else:
            bare += 1
    return [single, listed, linked, paused, bare, short]


def joints(joined: Sequence[int], heads: Sequence[int]) -> list[float]:
    """Return how many blocks are joined in each way, and how many names and values are joined by nothing."""
    counts = [joined.count(kind) for kind in range(5)]
    names = values = 0
    for joint, head in zip(joined, heads, strict=True):
        if joint >= _BARE:
            names += head == _NAME
            values += head == _VALUE
    return [*counts, names, values]


def clauses(a: Analysis, b: Analysis, at: Sequence[int], to: Sequence[int]) -> list[float]:
    """Return the shares of neighbours that are parted by a pause in the other text, and that stay together."""
    if not a.breaks or not b.breaks:
        return [0.0, 0.0]
    one, other = _clause_numbers(a), _clause_numbers(b)
    parted = kept = 0
    for n in range(len(at) - 1):
        if one[at[n]] == one[at[n + 1]]:
            if other[to[n]] == other[to[n + 1]]:
                kept += 1
            else:
                parted += 1
    return [parted, parted / (parted + kept + 1)]


def _clause_numbers(text: Analysis) -> list[int]:
    number = 0
    numbers = []
    for place in range(len(text.keys)):
        number += place in text.breaks
        numbers.append(number)
    return numbers


def inversions(order: Sequence[int], kinds: Sequence[int]) -> list[float]:
    """Return how many pairs of words are turned round: of names, of values, near each other, and of name and word."""
    names = values = near = mixed = 0
    for n, place in enumerate(order):
        kind = kinds[n]
        for m in range(n + 1, len(order)):
            if order[m] < place:
                other = kinds[m]
                if kind == other:
                    names += kind == _NAME
                    values += kind == _VALUE
                elif _VALUE not in (kind, other):
                    mixed += 1
                near += m - n <= 3 and place - order[m] <= 3
    return [names, values, near, mixed]


def lonely(order: Sequence[int], kinds: Sequence[int]) -> list[float]:
    """Return how many names, words and values lost both their neighbours while these met each other or another."""
    counts = [0, 0, 0]
    for n in range(1, len(order) - 1):
        before, place, after = order[n - 1], order[n], order[n + 1]
        if abs(before - place) > 2 and abs(after - place) > 2 and 0 < after - before <= 3:
            counts[kinds[n]] += 1
    return [counts[_NAME], counts[_WORD], counts[_VALUE]]
