"""Analysis: the words of one text by kind, in order; computed once and remembered."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from nearhit.guard.lexicon import EDIT_TERMS, MONTHS, ONES, SCALES, TENS
from nearhit.guard.words import (
    K_AUXILIARY,
    K_CONJUNCTION,
    K_CONTENT,
    K_DATE,
    K_ENTITY,
    K_IDENTIFIER,
    K_NEGATION,
    K_NUMBER,
    K_PREPOSITION,
    K_PRONOUN,
    K_QUANTIFIER,
    K_TEMPORAL,
    K_WH,
    M_EDIT,
    M_END,
    M_FOREIGN,
    M_JOIN,
    M_PAUSE,
    M_QUOTE,
    Word,
    number_key,
    words_of,
)

MAX_CHARACTERS: Final = 4000

_EDIT: Final = re.compile(EDIT_TERMS, re.IGNORECASE)
_WEAK_EDITS: Final = frozenset({"no", "rather", "actually", "well", "ok", "okay", "instead", "wait", "sorry"})
_QUOTED: Final = re.compile(r"[\"“”]([^\"“”]{1,200})[\"“”]|(?<![\w'])['‘]([^'‘’]{1,200})['’](?!\w)")
_BE: Final = frozenset({"is", "are", "was", "were", "be", "been", "being", "am", "get", "got"})
_FRACTIONS: Final = {
    "third": 3, "thirds": 3, "fourth": 4, "fourths": 4, "fifth": 5, "fifths": 5, "quarter": 4, "quarters": 4,
    "half": 2, "halves": 2, "sixth": 6, "eighth": 8, "tenth": 10,
}  # fmt: skip
_THIRDS: Final = {"0.333": 1 / 3, "0.667": 2 / 3}
_HOW: Final = {"many": "how_many", "much": "how_many", "long": "how_long", "old": "how_old", "far": "how_far",
               "often": "how_often", "big": "how_big", "tall": "how_big", "large": "how_big"}  # fmt: skip
_LINKING: Final = frozenset({K_PREPOSITION, K_CONJUNCTION, K_TEMPORAL})
_PARTICIPLE: Final = ("ed", "en", "n", "t", "d")
_MONTH_KEYS: Final = frozenset(MONTHS.values())
_EMPTY: Final[frozenset[str]] = frozenset()


class Analysis:
    """What one text says. Read only; what few pairs need is found when it is asked for.

    Args:
        text: the text.
        plain: its words are of no known language: only numbers, identifiers, capitals and the letters count.

    Attributes:
        words: all its words, numbers in words put together.
        keys: keys of the words that carry content, in order.
        kinds: kind of each of ``keys``.
        texts: lower-case surface of each of ``keys``.
        links: for each of ``keys`` the preposition or conjunction before it, or the empty string.
        where: the last place of each key in ``keys``.
        function: the keys of its function words.
        pronouns: the pronouns as they stand, in order.
        negations: how many negations there are; *whether or not* and *I do not know how* are none.
        focus: place in ``keys`` of what the last wh-word asks for, or what is no place.
        edits: places in ``keys`` before which the speaker corrected himself.
        last_sentence: place in ``keys`` at which the last sentence begins.
        quoted: the quoted strings.
        plain: whether its words are of no known language.
        size: how many words there are in all.
    """

    __slots__ = (
        "edits", "focus", "function", "keys", "kinds", "last_sentence", "links", "negations", "plain", "pronouns",
        "quoted", "size", "texts", "where", "words",
    )  # fmt: skip

    def __init__(self, text: str, plain: bool = False) -> None:
        words = [word for chunk in text.rstrip(_ENDING).split() for word in words_of(chunk)]
        if words and words[0][1] == K_ENTITY:  # a capital at the start says nothing
            words[0] = _common(words[0])
        marks = 0
        for word in words:
            marks |= word[3]
        self.plain = plain
        self.edits: list[int] = []
        self.last_sentence = 0
        self.quoted = _EMPTY
        if marks & ~M_PAUSE:
            words = self._look_again(text, words, marks)
        self.words = words
        self.size = len(words)
        keys, kinds, texts, links = [], [], [], []
        function = []
        pronouns = []
        link = ""
        focus = -1
        for key, kind, surface, _ in words:
            if kind >= K_DATE:
                keys.append(key)
                kinds.append(kind)
                texts.append(surface)
                links.append(link)
                link = ""
            elif kind:
                function.append(key)
                if kind in _LINKING:
                    link = key
                elif kind == K_PRONOUN:
                    pronouns.append(surface)
                elif kind == K_WH:
                    focus = len(keys)
        self.focus = focus
        self.keys, self.kinds, self.texts, self.links, self.pronouns = keys, kinds, texts, links, pronouns
        self.function = frozenset(function)
        self.where = {key: place for place, key in enumerate(keys)}
        self.negations = negations(words) if "not" in self.function else 0

    def _look_again(self, text: str, words: list[Word], marks: int) -> list[Word]:
        """Return the words with all that their marks ask for."""
        starts: list[int] = []
        if marks & M_EDIT:
            words, starts = corrected(text)
            self.edits = [sum(word[1] >= K_DATE for word in words[:start]) for start in starts]
        elif marks & M_JOIN:
            words = joined(words)
        if marks & M_FOREIGN and not self.plain:
            self.plain = is_foreign(words)
        if self.plain:
            words = [in_plain(word) for word in words]
        if marks & M_END and not starts:
            for n in range(1, len(words)):
                if words[n - 1][3] & M_END:
                    self.last_sentence = n
                    if words[n][1] == K_ENTITY:
                        words[n] = _common(words[n])
            self.last_sentence = sum(word[1] >= K_DATE for word in words[: self.last_sentence])
        if marks & M_QUOTE:
            self.quoted = frozenset((one or two).strip(" .,?!").lower() for one, two in _QUOTED.findall(text))
        return words

    @property
    def numbers(self) -> list[str]:
        """Keys of the numbers, sorted."""
        return sorted([key for key, kind in zip(self.keys, self.kinds, strict=True) if kind == K_NUMBER])

    @property
    def surface(self) -> list[str]:
        """All words as they stand, in lower case, without punctuation; the case of identifiers is kept."""
        return [word[2] for word in self.words]

    @property
    def breaks(self) -> set[int]:
        """Places in ``keys`` before which there is a comma or the like, or the end of a sentence."""
        found, place = set(), 0
        for word in self.words:
            place += word[1] >= K_DATE
            if word[3] & M_PAUSE:
                found.add(place)
        return found

    @property
    def questions(self) -> list[str]:
        """The wh-words, in order, ``how_many`` and such among them."""
        found: list[str] = []
        before = ""
        for key, kind, surface, _ in self.words:
            if kind == K_WH:
                found.append(key)
            elif kind == K_QUANTIFIER and before == "how":
                found[-1] = _HOW.get(surface, "how")
            before = surface
        return found

    @property
    def question(self) -> str:
        """The last of ``questions``, or ``yesno`` or ``command``."""
        asked = self.questions
        if asked:
            return asked[-1]
        return "yesno" if any(word[1] == K_AUXILIARY or word[2] in _BE for word in self.words[:3]) else "command"

    @property
    def passive(self) -> bool:
        """Whether there is a form of *be* with a participle and *by* after it, and somebody after that."""
        if "by" not in self.function:
            return False
        be = by = False
        before = ""
        for key, kind, surface, _ in self.words:
            if by and kind >= K_DATE:
                return True
            if kind in _LINKING:
                by = key == "by" and be and before.endswith(_PARTICIPLE)
            be = be or surface in _BE
            before = surface
        return False

    @property
    def conditional(self) -> bool:
        """Whether something holds only on a condition: *if*, *unless*, *without*, *when*."""
        return not _CONDITIONS.isdisjoint(self.surface)

    @property
    def complains(self) -> bool:
        """Whether somebody says of himself what he cannot do, and asks no question with a wh-word."""
        texts = self.surface
        return not self.questions and any(
            word[0] == "not" and texts[n - 2] in _SPEAKER and texts[n - 1] in _ABLE
            for n, word in enumerate(self.words)
            if n > 1
        )


_ENDING: Final = " .?!\n\t\r"
_SPEAKER: Final = frozenset({"i", "we"})
_ABLE: Final = frozenset({"can", "could"})
_CONDITIONS: Final = frozenset(
    {"if", "unless", "without", "when", "whenever", "once", "until", "till", "while", "provided"}
)


def negations(words: list[Word]) -> int:
    """Return how many negations there are; *whether or not* and *I do not know how* are none."""
    count = 0
    before = ""
    for _, kind, surface, _ in words:
        if kind == K_NEGATION:
            count += before != "or"
        elif surface == "know" and before == "not" and count:
            count -= 1
        before = surface
    return count


def corrected(text: str) -> tuple[list[Word], list[int]]:
    """Return the words of ``text`` and the places before which the speaker corrected himself."""
    words: list[Word] = []
    marks: set[int] = set()
    end = 0
    for match in _EDIT.finditer(text):
        term, after = match.group().lower(), text[match.end() :].lstrip()
        if term in _WEAK_EDITS and (not after or not text[: match.start()].strip()):
            continue  # a lone *no* or *actually* interrupts nothing
        if term == "rather" and after.startswith("than"):
            continue
        words += _flat(text[end : match.start()])
        if words:
            marks.add(len(words))
        end = match.end()
    words += _flat(text[end:])
    words = joined(words) if not marks else words
    return words, sorted(mark for mark in marks if mark < len(words))


def _flat(text: str) -> list[Word]:
    return [word for chunk in text.split() for word in words_of(chunk)]


@lru_cache(maxsize=8192)
def _common(word: Word) -> Word:
    return word._replace(kind=K_CONTENT)


def is_foreign(words: list[Word]) -> bool:
    """Return whether the words are of no known language: two at least say so, and fewer are English ones."""
    foreign = sum(word[3] & M_FOREIGN for word in words) // M_FOREIGN
    english = sum(word[1] < K_DATE and not word[3] & M_FOREIGN for word in words)
    return foreign > 1 and foreign > english


@lru_cache(maxsize=8192)
def in_plain(word: Word) -> Word:
    """Return ``word`` as one of no known language: what its letters say, a number in digits, a name, an identifier."""
    _, kind, text, marks = word
    if kind in (K_ENTITY, K_IDENTIFIER) or not text.isalpha():
        return word if kind >= K_DATE else Word(text, K_CONTENT, text, marks)
    return Word(text, K_CONTENT, text, marks)


def joined(words: list[Word]) -> list[Word]:
    """Return ``words`` with numbers in words put together, months before days, and *did use to* as *used to*."""
    found: list[Word] = []
    spelled = False
    for word in words:
        before = found[-1] if found else None
        if before and before.kind == K_NUMBER and word.key in _MONTH_KEYS and word.kind == K_DATE:
            found.insert(len(found) - (len(before.key) < 3), word)  # 3 June is June 3
            spelled = False
        elif before and word.text == "to" and before.text == "use" and any(one.text == "did" for one in found):
            found[-1:] = [Word("used", K_AUXILIARY, "used", before.marks), word]
        elif word.kind == K_NUMBER:
            spelled = _add_number(found, word, spelled)
        else:
            found.append(word)
            spelled = False
    return found


def _add_number(words: list[Word], word: Word, spelled: bool) -> bool:
    """Append a number, joined with the number in words before it; return whether more may join."""
    text = word.text
    left = words[-1] if words else word
    value = 0.0
    if len(words) > 1 and left.text == "of":  # half of 60, 0.4 times of ten
        place = -3 if words[-2].key == "tim" and len(words) > 2 else -2
        share = words[place]
        if share.kind == K_NUMBER and (place == -3 or 0 < float(share.key) < 1):
            value = _THIRDS.get(share.key, float(share.key)) * float(word.key)
            words[place:] = [Word(number_key(value), K_NUMBER, text, word.marks)]
            return False
    if words and text.isalpha() and (left.kind == K_NUMBER or left.key == "one"):
        before = 1.0 if left.key == "one" else float(left.key)
        if text in _FRACTIONS:
            value = before / _FRACTIONS[text]
        elif text in SCALES:
            value = before * SCALES[text]
        elif spelled and left.kind == K_NUMBER and (text in ONES or text in TENS):
            value = before + float(word.key)
        if value:
            words[-1] = Word(number_key(value), K_NUMBER, text, word.marks)
            return text not in _FRACTIONS
    words.append(word)
    return text in TENS or text in ONES or text in SCALES


@lru_cache(maxsize=4096)
def analyse(text: str, plain: bool = False) -> Analysis:
    """Return the analysis of ``text``, remembered for the texts seen last; ``plain`` as in ``Analysis``."""
    return Analysis(text, plain)
