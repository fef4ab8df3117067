"""Sight: how much of a text an embedder reads, and whether two texts differ in unread parts.

A vector says nothing about text behind the model's limit, and nothing about words that all became the same unknown
token. Two texts that differ only there are 1.000 alike. So a semantic hit needs an embedder that read the difference.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache, partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    SightOf = Callable[[str], "Sight"]


class Unseen(StrEnum):
    """Which difference the embedder did not read. A closed set: it is a metric label."""

    CUT = "cut_text"
    UNKNOWN = "unknown_tokens"
    ACCENTS = "accents"
    EXCERPT = "excerpt"


class Reads(StrEnum):
    """Which characters a model is known to tell apart, for models whose tokenizer is not available."""

    ALL = "all"
    LETTERS = "letters"
    LATIN = "latin"


@dataclass(frozen=True, slots=True)
class Sight:
    """How much of one text an embedder read.

    Attributes:
        cut: place of the first character that it did not read; ``None`` where it read the text to its end.
        unknown: the pieces that it could not tell from others, as they stand, in their order.
        words: for a model that drops accents: each word as it was read, with its spellings in this text.
    """

    cut: int | None = None
    unknown: tuple[str, ...] = ()
    words: Mapping[str, frozenset[str]] = field(default_factory=dict)


ALL: Final = Sight()
"""The whole text was read."""

ASSUMED_BYTES: Final = 512
"""What fits into every embedding model in use, whose smallest limits are 256 and 512 tokens."""

_INVISIBLE: Final = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff\u00ad"))
_LATIN_1: Final = "\xff"
_OPTIONAL: Final = ("LATIN", "GREEK", "ARABIC", "HEBREW")
"""Scripts in which a writer may leave accents or vowel signs out and still mean the same word."""


def unseen(prompt: str, candidate: str, sight_of: SightOf) -> Unseen | None:
    """Return which difference between two texts the embedder did not read, or ``None`` where it read all of them.

    Args:
        prompt: the text that was asked.
        candidate: the text whose answer is in the cache.
        sight_of: how much the embedder reads of a text.
    """
    one, other = sight_of(prompt), sight_of(candidate)
    if one is ALL and other is ALL:
        return None
    if one.unknown != other.unknown:
        return Unseen.UNKNOWN
    # compared from their ends, as far as the longer unread part reaches: the same words may lie behind the limit in one
    # text and before it in the other
    unread = [text[sight.cut :] for text, sight in ((prompt, one), (candidate, other)) if sight.cut is not None]
    length = max((len(" ".join(text.split())) for text in unread), default=0)
    if length and " ".join(prompt.split())[-length:] != " ".join(candidate.split())[-length:]:
        return Unseen.CUT
    if one.words and other.words and accents_differ(one.words, other.words):
        return Unseen.ACCENTS
    return None


def sight_of(embedder: object) -> SightOf:
    """Return what says how much ``embedder`` reads of a text: its own ``sight``, or a cautious assumption.

    The assumption, for embedders that do not say: 512 bytes of UTF-8, and Latin letters alone.
    """
    own: SightOf | None = getattr(embedder, "sight", None)
    return own if own is not None else partial(assumed_sight, most_bytes=ASSUMED_BYTES, reads=Reads.LATIN)


def visible(piece: str) -> str:
    """Return ``piece`` without case, joiners and variation selectors, to compare it with other unknown pieces."""
    return piece.casefold().translate(_INVISIBLE)


def is_punctuation(piece: str) -> bool:
    """Return whether ``piece`` holds punctuation alone: a full stop of another script asks nothing else."""
    return all(unicodedata.category(character)[0] == "P" for character in piece)


def cut_at_bytes(text: str, most: int) -> int | None:
    """Return the place of the first character behind ``most`` bytes of UTF-8; ``None`` where the text is shorter.

    No tokenizer gives more tokens than a text has bytes: a text of ``most`` bytes fits a model of ``most`` tokens.
    """
    if len(text) * 4 <= most:
        return None
    if text.isascii():
        return most if len(text) > most else None
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded[:most].decode("utf-8", "ignore")) if len(encoded) > most else None


def assumed_sight(text: str, most_bytes: int, reads: Reads) -> Sight:
    """Return the sight of a model whose tokenizer is not available: what it may have missed counts as missed.

    Args:
        text: what was embedded.
        most_bytes: so many bytes fit into the model for certain.
        reads: which characters it tells apart.
    """
    cut = cut_at_bytes(text, most_bytes)
    if reads is Reads.ALL or text.isascii():
        return ALL if cut is None else Sight(cut)
    runs = groupby(text, _is_symbol if reads is Reads.LETTERS else _is_foreign)
    unknown = tuple(visible("".join(run)) for doubted, run in runs if doubted)
    return Sight(cut, unknown) if unknown or cut is not None else ALL


def spellings(text: str) -> Mapping[str, frozenset[str]]:
    """Return the words of ``text`` as a model reads them that drops accents, each with how it is spelled there."""
    found: dict[str, frozenset[str]] = {}
    for chunk in text.casefold().split():
        word = unicodedata.normalize("NFD", chunk.strip(_PUNCTUATION))
        read = "".join(letter for letter in word if unicodedata.category(letter) != "Mn")
        if read:
            found[read] = found.get(read, frozenset()) | {word.translate(_INVISIBLE)}
    return found


_PUNCTUATION: Final = ".,;:!?\"'`()[]{}<>«»“”‘’„…·。、，；：！？¿¡؟،؛।「」『』（）"


def accents_differ(one: Mapping[str, frozenset[str]], other: Mapping[str, frozenset[str]]) -> bool:
    """Return whether a word that both texts have is spelled with other accents in each.

    In scripts whose writers leave accents out, a plain spelling is no difference: *ano* may be *año*; but *bán* is not
    *bạn*.
    """
    for read in one.keys() & other.keys():
        left, right = one[read], other[read]
        if left == right:
            continue
        if _script(read[0]) in _OPTIONAL:
            left, right = left - {read}, right - {read}
            if not left or not right:
                continue
        if left.isdisjoint(right):
            return True
    return False


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


@lru_cache(maxsize=4096)
def _is_symbol(character: str) -> bool:
    """Return whether ``character`` is a symbol, an emoji or of no known kind; every model has those of Latin-1."""
    return character > _LATIN_1 and unicodedata.category(character) in {"Sm", "So", "Sk", "Co", "Cn", "No"}


@lru_cache(maxsize=4096)
def _is_foreign(character: str) -> bool:
    """Return whether ``character`` is a symbol, or a letter or digit of another script than the Latin one."""
    if character <= _LATIN_1:
        return False
    if _is_symbol(character):
        return True
    kind = unicodedata.category(character)
    if kind[0] in "LM":
        return _script(character) not in {"LATIN", "COMBINING", "MODIFIER"}
    return kind == "Nd"
