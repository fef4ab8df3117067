"""Words: one chunk of text turned into normalised words with their kinds, remembered by chunk."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple

from nearhit.guard.antonyms import ANTONYMS
from nearhit.guard.lexicon import (
    AUXILIARY,
    CONJUNCTION,
    CONTRACTIONS,
    DATE_WORDS,
    EDIT_HINTS,
    FOREIGN,
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

# Bits that tell when a text is worth another look: a word that may begin a self-correction, one that may join its
# neighbours (a number, a month, *use to*), one that is not English, a quotation mark, a pause, the end of a sentence.
M_EDIT, M_JOIN, M_FOREIGN, M_QUOTE, M_PAUSE, M_END = 1, 2, 4, 8, 16, 32

_PUNCTUATION: Final = " \t\r\n.,;:!?\"'`()[]{}«»“”‘’‚„…·。、，；：！？¿¡؟،؛।「」『』（）"
_NUMBER: Final = re.compile(r"[$€£#~+]?(\d[\d,]*(?:\.\d+)?|\.\d+)(%|[a-zA-Z]{1,5})?")
_FRACTION: Final = re.compile(r"(\d+)/(\d+)")
_CODE_CHARACTERS: Final = frozenset("/\\_*~=|@#<>{}$^[]()+")
_VOWELS: Final = frozenset("aeiouy")
_ENDS: Final = frozenset(".?!。？！")
_PAUSES: Final = frozenset(".?!,;:)。？！，；：")
_BETWEEN: Final = re.compile(r"[-–—‐,;:!?&]+")
_QUOTES: Final = frozenset("\"'“”‘’")


class Word(NamedTuple):
    """One normalised word.

    Attributes:
        key: what is compared: a stem, or a number in digits.
        kind: one of the ``K_*`` kinds.
        text: the word as it stood, in lower case; of an identifier, as it stood.
        marks: the ``M_*`` bits.
    """

    key: str
    kind: int
    text: str
    marks: int = 0


def stem(word: str) -> str:
    """Return ``word`` without its English inflection; close enough that two forms of a word share it."""
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


OPPOSITES: Final = frozenset(
    pair
    for group in ANTONYMS.split(";")
    for left, right in [[side.split() for side in group.split("|")]]
    for one, other in product(left, right)
    for form in (str, stem)
    for pair in ((form(one), form(other)), (form(other), form(one)))
)
"""Pairs of words that turn a meaning round, both ways, as words and as stems."""


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


KIND_OF: Final = {key: kind for key, kind in _CLOSED.values() if K_STOP < kind < K_DATE}
"""Kind of each key of a function word; no key has two."""


def plain_words(text: str, upper: bool = False) -> tuple[Word, ...]:
    """Return the words of one bare lower-case word; ``upper`` where it began with a capital."""
    if text in CONTRACTIONS:
        return tuple(word for part in CONTRACTIONS[text] for word in plain_words(part))
    if "'" in text:
        head, _, tail = text.partition("'")
        if tail == "t" and head.endswith("n"):
            return (*plain_words(head[:-1] or "n"), Word("not", K_NEGATION, "not"))
        if tail in {"s", "", "re", "ll", "ve", "d", "m"} and head:
            return plain_words(head, upper)
        text = text.replace("'", "")
    marks = M_FOREIGN * (text in FOREIGN or not text.isascii()) | M_EDIT * (text in EDIT_HINTS)
    key, kind = _CLOSED.get(text) or (stem(text), K_ENTITY if upper else K_CONTENT)
    if kind == K_NUMBER or text in MONTHS or text == "use":
        marks |= M_JOIN
    return (Word(key, kind, text, marks),)


def number_key(value: float) -> str:
    """Return the one spelling of a number: ``3``, ``0.333``, ``1500``."""
    return f"{round(value, 3):.12g}"


def number_words(core: str) -> tuple[Word, ...] | None:
    """Return the words of a number in digits with its sign or unit, or of a fraction; ``None`` for another chunk."""
    fraction = _FRACTION.fullmatch(core)
    if fraction and int(fraction[2][:9]):
        return (Word(number_key(int(fraction[1][:9]) / int(fraction[2][:9])), K_NUMBER, core, M_JOIN),)
    match = _NUMBER.fullmatch(core)
    if match is None:
        return None
    digits, suffix = match.groups()
    try:
        key = number_key(float(digits.replace(",", "")))
    except (ValueError, OverflowError):
        key = digits
    sign = _SIGNS.get(core[0])
    words = [Word(key, K_NUMBER, core, M_JOIN * key.startswith("0."))]
    if sign:
        words.append(Word(sign, K_UNIT, core[0]))
    if suffix == "%":
        words.append(Word("pct", K_UNIT, "%"))
    elif suffix and suffix.lower() not in {"st", "nd", "rd", "th", "s"}:
        words.extend(plain_words(suffix.lower()))
    return tuple(words)


_SIGNS: Final = {"$": "usd", "€": "eur", "£": "gbp"}


def _is_wide(character: str) -> bool:
    """Return whether ``character`` belongs to a script that is written without spaces between words."""
    return "\u2e80" <= character <= "\ud7ff" or "\u0e00" <= character <= "\u0eff" or "\u1000" <= character <= "\u109f"


def is_code(core: str) -> bool:
    """Return whether ``core`` is a path, file name, option or another identifier."""
    inner_dot = ("." in core[:-1] and not core.replace(".", "").isalpha()) or (core[0] == "." and len(core) > 1)
    if "." in core[1:-1] and len(core.rpartition(".")[2]) <= 5 and core.partition(".")[0].isalnum():
        inner_dot = len(core.partition(".")[0]) > 1
    return inner_dot or not _CODE_CHARACTERS.isdisjoint(core) or (core[0] == "-" and core[1:2].isalpha())


def chunk_words(chunk: str) -> tuple[Word, ...]:
    """Return the words of one piece of text without white space."""
    core = chunk.strip(_PUNCTUATION)
    if not core:
        return ()
    if core.isascii() and core.isalpha():
        return plain_words(core.lower(), core[0].isupper())
    core = core.replace("’", "'").replace("ʼ", "'")
    number = number_words(core)
    if number:
        return number
    if any(map(_is_wide, core)):
        return tuple(Word(c, K_CONTENT, c, M_FOREIGN) for c in core if c.isalnum() or _is_wide(c))
    left, slash, right = core.partition("/")
    if slash and left.isalpha() and right.isalpha():
        return (*chunk_words(left), Word("or", K_CONJUNCTION, "/"), *chunk_words(right))
    if is_code(core):
        return (Word(core.rstrip("/") or core, K_IDENTIFIER, core),)
    parts = [part for part in _BETWEEN.split(core) if part]
    if len(parts) > 1 and not core.replace("-", "").replace(":", "").isdigit():
        return tuple(word for part in parts for word in chunk_words(part))
    if any(character.isdigit() for character in core):
        return (Word(core.lower(), K_IDENTIFIER, core.lower()),)
    return plain_words(core.lower(), core[0].isupper())


@lru_cache(maxsize=32768)
def words_of(chunk: str) -> tuple[Word, ...]:
    """Return the normalised words of one piece of text without white space, remembered for those seen last.

    The last of them is marked with the pause, the end of a sentence or the quotation mark of the piece.
    """
    words = chunk_words(chunk)
    marks = M_QUOTE * (not _QUOTES.isdisjoint(chunk))
    if chunk[-1] in _PAUSES:
        marks |= M_END | M_PAUSE if chunk[-1] in _ENDS else M_PAUSE
    if not words or not marks:
        return words
    return (*words[:-1], words[-1]._replace(marks=words[-1].marks | marks))
