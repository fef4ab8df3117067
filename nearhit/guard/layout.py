"""Layout: differences outside words: the indentation of lines, and signs such as ≤, ∀ or 👍."""

from __future__ import annotations

import unicodedata
from typing import Final

from nearhit.guard.verdict import Difference, RefusalReason

_TAB: Final = 8
_SIGNS: Final = frozenset({"Sm", "So", "Co"})


def layout_difference(prompt: str, candidate: str) -> Difference | None:
    """Return what differs between two texts beside their words, or ``None``; the same from both sides.

    Indentation counts in texts of several lines, by its depth: two columns or four, spaces or tabs are the same. Signs
    count where both texts have some: one 👍 more is for the words to decide.
    """
    if "\n" in prompt or "\n" in candidate:
        found = _indentation(prompt, candidate)
        if found is not None:
            return found
    if prompt.isascii() or candidate.isascii():
        return None
    one, other = _signs(prompt), _signs(candidate)
    if one and other and one != other:
        return Difference(RefusalReason.SYMBOL, one, other)
    return None


def _indentation(prompt: str, candidate: str) -> Difference | None:
    """Return the first line that both texts have as often, and that stands at another depth in each.

    Or that the same words are broken into other lines: with depths, lines mean something.
    """
    one, other = _lines(prompt), _lines(candidate)
    if not any(depth for depth, _ in (*one, *other)):
        return None
    left, right = _depths(one), _depths(other)
    for text, depths in left.items():
        others = right.get(text, depths)
        if depths != others and len(depths) == len(others):
            return Difference(RefusalReason.INDENTATION, _shown(depths, text), _shown(others, text))
    lines, other_lines = [text for _, text in one], [text for _, text in other]
    if lines != other_lines and " ".join(lines).casefold() == " ".join(other_lines).casefold():
        return Difference(RefusalReason.INDENTATION, f"{len(one)} lines", f"{len(other)} lines")
    return None


def _lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that are not blank, white space in them folded, each with how deep it is indented.

    A line is as deep as there are lines before it that it belongs to, as in Python and YAML.
    """
    open_columns: list[int] = []
    lines = []
    for line in text.expandtabs(_TAB).splitlines():
        words = line.split()
        if not words:
            continue
        column = len(line) - len(line.lstrip())
        while open_columns and open_columns[-1] >= column:
            open_columns.pop()
        lines.append((len(open_columns), " ".join(words)))
        open_columns.append(column)
    return lines


def _depths(lines: list[tuple[int, str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for depth, text in lines:
        found.setdefault(text, []).append(depth)
    return found


def _shown(depths: list[int], text: str) -> str:
    return f"{' '.join(map(str, depths))}: {text[:80]}"


def _signs(text: str) -> str:
    """Return the mathematical signs, emoji and other symbols of a text, in their order."""
    return "".join(one for one in text if one > "\x7f" and unicodedata.category(one) in _SIGNS)
