"""Words: one chunk of text turned into normalised words with their kinds, remembered by chunk."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple

from nearhit.guard.attributes import ATTRIBUTE_OF
from nearhit.guard.lexicon import (
    AUXILIARY,
    CONJUNCTION,
    CONTRACTIONS,
    DATE_WORDS,
    MONTHS,
    NEGATION,
    ONES,
    OTHER_NUMBERS,
    PREPOSITION,
    PRONOUN,
    QUANTIFIER,
    SCALES,
    STOP,
    TEMPORAL,
    TENS,
    UNITS,
    WH,
)
from nearhit.guard.synonyms import ANTONYM_LINES, FORM_LINES, SYNONYM_LINES

# Kinds of words. From DATE on, a word carries content and takes part in the alignment.
(
    K_STOP,
    K_WH,
    K_NEGATION,
    K_AUXILIARY,
    K_PREPOSITION,
    K_CONJUNCTION,
    K_QUANTIFIER,
    K_PRONOUN,
    K_TEMPORAL,
    K_DATE,
    K_UNIT,
    K_NUMBER,
    K_IDENTIFIER,
    K_CONTENT,
    K_ENTITY,
) = range(15)

_PUNCTUATION: Final = " \t\r\n.,;:!?\"'`()[]{}«»“”‘’‚„…·。、，；：！？¿¡؟،؛।「」『』（）"
_NUMBER: Final = re.compile(r"[$€£#~+]?(\d[\d,]*(?:\.\d+)?|\.\d+)(%|[a-zA-Z]{1,5})?")
_FRACTION: Final = re.compile(r"(\d+)/(\d+)")
_CODE_CHARACTERS: Final = frozenset("/\\_*~=|@#<>{}$^[]()+")
_VOWELS: Final = frozenset("aeiouy")


_BASE_FORM: Final = {word: line.split()[0] for line in FORM_LINES for word in line.split()}


class Word(NamedTuple):
    """One normalised word.

    Attributes:
        key: what is compared: a canonical synonym, a stem, or a number in digits.
        kind: one of the ``K_*`` kinds.
        text: the word as it stood, in lower case.
        upper: the word began with a capital.
        attribute: the property that the word names, or the empty string.
    """

    key: str
    kind: int
    text: str
    upper: bool = False
    attribute: str = ""


def stem(word: str) -> str:
    """Return ``word`` without its English inflection; close enough that two forms of a word share it."""
    word = _BASE_FORM.get(word, word)
    size = len(word)
    if size <= 3 or not word.isascii():
        return word
    if word.endswith("ies") and size > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "ches", "shes", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not _VOWELS.isdisjoint(word[: -len(ending)]):
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if word.endswith("ly") and len(word) > 5:
        word = word[:-2]
    if word[-1] in "ey" and len(word) > 3:
        word = word[:-1] + ("i" if word[-1] == "y" else "")
    return word


def _synonyms() -> dict[str, str]:
    table: dict[str, str] = {}
    for line in SYNONYM_LINES:
        members = [stem(word) for word in line.split()]
        canon = table.get(members[0], members[0])
        for member in members:
            table.setdefault(member, canon)
    return table


_CANON: Final = _synonyms()


def key_of(word: str) -> str:
    """Return the key under which ``word`` (lower case) is compared."""
    root = stem(word)
    return _CANON.get(root, root)


OPPOSITES: Final = frozenset(
    pair
    for line in ANTONYM_LINES
    for left, right in [[side.split() for side in line.split("|")]]
    for one, other in product(left, right)
    for form in (str, stem, key_of)
    for pair in ((form(one), form(other)), (form(other), form(one)))
)
"""Pairs of words that turn a meaning round, both ways, as words, as stems and as keys."""


_CLOSED: Final[dict[str, tuple[str, int]]] = {
    **{word: (str(key), K_NUMBER) for table in (OTHER_NUMBERS, SCALES, TENS, ONES) for word, key in table.items()},
    "one": ("one", K_QUANTIFIER),
    **{word: (key, K_DATE) for word, key in MONTHS.items() if word != "mar"},
    **{word: (stem(word), K_DATE) for word in DATE_WORDS},
    **{word: (key, K_UNIT) for word, key in UNITS.items()},
    **{word: (word, K_PREPOSITION) for word in PREPOSITION},
    **{word: (word, K_STOP) for word in STOP},
    **dict.fromkeys(NEGATION, ("not", K_NEGATION)),
    **{word: (key, K_AUXILIARY) for word, key in AUXILIARY.items()},
    **{word: (key, K_WH) for word, key in WH.items()},
    **{word: (key, K_PRONOUN) for word, key in PRONOUN.items()},
    **{word: (key, K_QUANTIFIER) for word, key in QUANTIFIER.items()},
    **{word: (key, K_CONJUNCTION) for word, key in CONJUNCTION.items()},
    **{word: (key, K_TEMPORAL) for word, key in TEMPORAL.items()},
}
"""Key and kind of every word that carries no content of its own. Of two tables with one word, the later decides."""


@lru_cache(maxsize=32768)
def _plain(text: str, upper: bool) -> tuple[Word, ...]:
    """Return the words of one bare lower-case word."""
    if text in CONTRACTIONS:
        return tuple(word for part in CONTRACTIONS[text] for word in _plain(part, False))
    if "'" in text:
        head, _, tail = text.partition("'")
        if tail == "t" and head.endswith("n"):
            return (*_plain(head[:-1] or "n", False), Word("not", K_NEGATION, "not", False))
        if tail in {"s", "", "re", "ll", "ve", "d", "m"} and head:
            return _plain(head, upper)
        text = text.replace("'", "")
    known = _CLOSED.get(text)
    if known:
        return (Word(known[0], known[1], text, upper, ATTRIBUTE_OF.get(text, "")),)
    return (Word(key_of(text), K_ENTITY if upper else K_CONTENT, text, upper, ATTRIBUTE_OF.get(text, "")),)


def number_key(value: float) -> str:
    """Return the one spelling of a number: ``3``, ``0.333``, ``1500``."""
    return f"{round(value, 3):.12g}"


def _number(match: re.Match[str], core: str) -> tuple[Word, ...]:
    digits, suffix = match.groups()
    try:
        key = number_key(float(digits.replace(",", "")))
    except (ValueError, OverflowError):
        key = digits
    words = [Word(key, K_NUMBER, core, False)]
    sign = core[0]
    if sign in "$€£":
        words.append(Word({"$": "usd", "€": "eur", "£": "gbp"}[sign], K_UNIT, sign, False))
    if suffix == "%":
        words.append(Word("pct", K_UNIT, "%", False))
    elif suffix and suffix.lower() not in {"st", "nd", "rd", "th", "s"}:
        words.extend(_plain(suffix.lower(), False))
    return tuple(words)


def _is_wide(character: str) -> bool:
    """Return whether ``character`` belongs to a script that is written without spaces between words."""
    return "\u2e80" <= character <= "\ud7ff" or "\u0e00" <= character <= "\u0eff" or "\u1000" <= character <= "\u109f"


def _code(core: str) -> tuple[Word, ...] | None:
    """Return the words of a path, file name, option or identifier; ``None`` when ``core`` is none."""
    if "/" in core and core.replace("/", "").isalpha() and core.count("/") == 1 and core[0] != "/" != core[-1]:
        left, right = core.split("/")
        return (*_chunk(left), Word("or", K_CONJUNCTION, "/", False), *_chunk(right))
    inner_dot = ("." in core[:-1] and not core.replace(".", "").isalpha()) or (core[0] == "." and len(core) > 1)
    if "." in core[1:-1] and len(core.rpartition(".")[2]) <= 5 and core.partition(".")[0].isalnum():
        inner_dot = len(core.partition(".")[0]) > 1
    if inner_dot or not _CODE_CHARACTERS.isdisjoint(core) or (core[0] == "-" and core[1:2].isalpha()):
        return (Word(core.rstrip("/") or core, K_IDENTIFIER, core.lower(), False),)
    return None


def _chunk(chunk: str) -> tuple[Word, ...]:
    """Return the words of one piece of text without white space."""
    core = chunk.strip(_PUNCTUATION)
    if not core:
        return ()
    if core.isascii() and core.isalpha():
        return _plain(core.lower(), core[0].isupper())
    core = core.replace("’", "'").replace("ʼ", "'")
    number = _NUMBER.fullmatch(core)
    if number:
        return _number(number, core)
    fraction = _FRACTION.fullmatch(core)
    if fraction and int(fraction[2][:9]):
        return (Word(number_key(int(fraction[1][:9]) / int(fraction[2][:9])), K_NUMBER, core, False),)
    if any(map(_is_wide, core)):
        return tuple(Word(c, K_CONTENT, c, False) for c in core if c.isalnum() or _is_wide(c))
    code = _code(core)
    if code is not None:
        return code
    return _mixed(core)


def _mixed(core: str) -> tuple[Word, ...]:
    """Return the words of a chunk with hyphens, apostrophes, digits or other letters in it."""
    parts = [part for part in re.split(r"[-–—‐,;:!?&]+", core) if part]
    if len(parts) > 1 and not core.replace("-", "").replace(":", "").isdigit():
        return tuple(word for part in parts for word in _chunk(part))
    if any(character.isdigit() for character in core):
        return (Word(core.lower(), K_IDENTIFIER, core.lower(), False),)
    return _plain(core.lower(), core[0].isupper())


@lru_cache(maxsize=32768)
def words_of(chunk: str) -> tuple[Word, ...]:
    """Return the normalised words of one piece of text without white space, remembered for those seen last."""
    return _chunk(chunk)
