"""Analysis: the words of one text by kind, in order, with their places; computed once and remembered."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from nearhit.guard.lexicon import EDIT_HINTS, EDIT_TERMS, MONTHS, ONES, SCALES, TENS
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
    Word,
    number_key,
    words_of,
)

MAX_CHARACTERS: Final = 4000
if TYPE_CHECKING:
    from collections.abc import Set

_EDIT: Final = re.compile(EDIT_TERMS, re.IGNORECASE)
_QUOTED: Final = re.compile(r"[\"“”]([^\"“”]{1,200})[\"“”]|(?<![\w'])['‘]([^'‘’]{1,200})['’](?!\w)")
_BE: Final = frozenset({"is", "are", "was", "were", "be", "been", "being", "am", "get", "got"})
_FRACTIONS: Final = {
    "third": 3, "thirds": 3, "fourth": 4, "fourths": 4, "fifth": 5, "fifths": 5, "quarter": 4, "quarters": 4,
    "half": 2, "halves": 2, "sixth": 6, "eighth": 8, "tenth": 10,
}  # fmt: skip
_HOW: Final = {"many": "how_many", "much": "how_many", "long": "how_long", "old": "how_old", "far": "how_far",
               "often": "how_often", "big": "how_big", "tall": "how_big", "large": "how_big"}  # fmt: skip


class Analysis:
    """What one text says. Read only.

    Attributes:
        keys: keys of the words that carry content, in order.
        kinds: kind of each of ``keys``.
        texts: lower-case surface of each of ``keys``.
        links: for each of ``keys`` the preposition or conjunction before it, or the empty string.
        function: the keys of function words by kind, as frozensets.
        flow: every neighbouring pair of words that are no mere fillers.
        pronouns: the pronouns as they stand, in order.
        attributes: the properties that the words name.
        first_person: the text speaks of *I*, *me* or *my*.
        negations: how many negations there are; *whether or not* and *I do not know how* are none.
        complains: somebody says of himself what he does not or cannot do.
        questions: the wh-words, in order, ``how_many`` and such among them.
        question: the last of them, or ``yesno`` or ``command``.
        focus: the content word that follows the last wh-word, or the empty string.
        passive: a form of *be* with a participle and *by* after it.
        edits: places in ``keys`` before which the speaker corrected himself.
        last_sentence: place in ``keys`` at which the last sentence begins.
        quoted: the quoted strings.
        breaks: places in ``keys`` before which there is a comma or the like, or the end of a sentence.
        sentences: places in ``keys`` at which a sentence begins.
        modifiers: each negation, quantity or time word with the place in ``keys`` of the word that it stands before.
        size: how many words there are in all.
    """

    __slots__ = (
        "_all",
        "attributes",
        "breaks",
        "complains",
        "edits",
        "first_person",
        "flow",
        "focus",
        "function",
        "keys",
        "kinds",
        "last_sentence",
        "links",
        "modifiers",
        "negations",
        "passive",
        "pronouns",
        "question",
        "questions",
        "quoted",
        "sentences",
        "size",
        "texts",
    )  # fmt: skip

    def __init__(self, text: str) -> None:
        words, starts, breaks = _joined(text)
        marks: tuple[int, ...] = ()
        if not EDIT_HINTS.isdisjoint([word[2] for word in words]):
            words, marks = _corrected(text)
            starts, breaks = [0], []
        self.size = len(words)
        self._all = words
        self.quoted = _EMPTY
        if '"' in text or "'" in text or "“" in text or "‘" in text:
            self.quoted = frozenset((one or two).strip(" .,?!").lower() for one, two in _QUOTED.findall(text))
        self._read(words)
        self.edits = [sum(word[1] >= K_DATE for word in words[:mark]) for mark in marks]
        self.sentences = _places(words, starts)
        self.breaks = frozenset(_places(words, breaks)) if breaks else _NO_BREAKS
        self.last_sentence = self.sentences[-1]
        kept = [word[0] for word in words if word[1]]
        self.flow = frozenset(pairwise(kept))
        self.question = self.questions[-1] if self.questions else "command"
        if not self.questions and any(word[1] == K_AUXILIARY or word[2] in _BE for word in words[:3]):
            self.question = "yesno"

    @property
    def numbers(self) -> list[str]:
        """Keys of the numbers, sorted."""
        return sorted([key for key, kind in zip(self.keys, self.kinds, strict=True) if kind == K_NUMBER])

    @property
    def words(self) -> list[str]:
        """All words as they stand, in lower case, without punctuation; the case of identifiers is kept."""
        return [word[0] if word[1] == K_IDENTIFIER else word[2] for word in self._all]

    def _read(self, words: list[Word]) -> None:  # noqa: C901 - one loop over the words, on the read path
        """Walk over the words once."""
        keys: list[str] = []
        kinds: list[int] = []
        texts: list[str] = []
        links: list[str] = []
        questions: list[str] = []
        pronouns: list[str] = []
        attributes: set[str] = set()
        modifiers: list[tuple[str, int]] = []
        function: list[Set[str]] = [_EMPTY] * _FUNCTION_KINDS
        focus = link = before = earlier = ""
        negations = 0
        first_person = passive = by = complains = wants_focus = be_seen = False
        for key, kind, surface, _, attribute in words:
            if attribute:
                attributes.add(attribute)
            if kind >= K_DATE:
                keys.append(key)
                kinds.append(kind)
                texts.append(surface)
                links.append(link)
                link = ""
                passive = passive or by
                if wants_focus:
                    focus = key
                    wants_focus = False
            elif kind:
                known = function[kind]
                function[kind] = known | _alone(key) if known else _alone(key)
                if kind in _MODIFYING:
                    modifiers.append((key, len(keys)))
                if kind in _LINKING:
                    link = key
                    by = key == "by" and be_seen and before.endswith(_PARTICIPLE)
                elif kind == K_WH:
                    questions.append(key)
                    wants_focus = True
                elif kind == K_QUANTIFIER:
                    if before == "how" and questions:
                        questions[-1] = _HOW.get(surface, "how")
                elif kind == K_PRONOUN:
                    pronouns.append(surface)
                    first_person = first_person or key == "my"
                elif kind == K_NEGATION:
                    negations += before != "or"
                    complains = complains or (earlier in _SPEAKER and before in _DOING)
                elif surface in _BE:
                    be_seen = True
            elif surface in _FIRST_PERSON:
                first_person = True
            elif surface in _BE:
                be_seen = True
            elif surface == "know" and before == "not" and negations:
                negations -= 1
            earlier, before = before, surface
        self.keys, self.kinds, self.texts, self.links = keys, kinds, texts, links
        self.modifiers, self.complains = modifiers, complains
        self.questions, self.pronouns, self.attributes, self.function = questions, pronouns, attributes, function
        self.focus, self.negations, self.first_person, self.passive = focus, negations, first_person, passive


@lru_cache(maxsize=1024)
def _alone(key: str) -> frozenset[str]:
    return frozenset((key,))


_FUNCTION_KINDS: Final = 9
_LINKING: Final = (K_PREPOSITION, K_CONJUNCTION, K_TEMPORAL)
_MODIFYING: Final = (K_NEGATION, K_QUANTIFIER, K_TEMPORAL)
_PARTICIPLE: Final = ("ed", "en", "n", "t", "d")
_SPEAKER: Final = frozenset({"i", "we"})
_DOING: Final = frozenset({"can", "could", "do", "did", "have"})
_FIRST_PERSON: Final = frozenset({"i", "me", "we", "us"})
_NO_BREAKS: Final[frozenset[int]] = frozenset()
_EMPTY: Final[frozenset[str]] = frozenset()


def _corrected(text: str) -> tuple[list[Word], tuple[int, ...]]:
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
        words.extend(_joined(text[end : match.start()])[0])
        if words:
            marks.add(len(words))
        end = match.end()
    words.extend(_joined(text[end:])[0])
    return words, tuple(sorted(mark for mark in marks if mark < len(words)))


_WEAK_EDITS: Final = frozenset({"no", "rather", "actually", "well", "ok", "okay", "instead", "wait", "sorry"})


@lru_cache(maxsize=8192)
def _common(word: Word) -> Word:
    return word._replace(kind=K_CONTENT)


def _joined(text: str) -> tuple[list[Word], list[int], list[int]]:
    """Return the words of ``text``, numbers in words put together; where sentences begin, and what follows a pause."""
    words: list[Word] = []
    start = True
    spelled = False
    starts: list[int] = []
    breaks: list[int] = []
    for chunk in text.split():
        if start:
            starts.append(len(words))
        for word in words_of(chunk):
            kind = word[1]
            if kind == K_NUMBER:
                spelled = _add_number(words, word, spelled)
            else:
                spelled = False
                if start and kind == K_ENTITY:  # a capital at the start says nothing
                    word = _common(word)
                elif (
                    kind == K_DATE
                    and word[0] in _MONTHS
                    and words
                    and words[-1][1] == K_NUMBER
                    and len(words[-1][0]) < 3
                ):
                    words.insert(-1, word)  # 3 June is June 3
                    continue
                words.append(word)
            start = False
        if chunk[-1] in _PAUSES:
            breaks.append(len(words))
            start = start or chunk[-1] in _ENDS
    if breaks and breaks[-1] == len(words):
        breaks.pop()
    return words, starts or [0], breaks


_ENDS: Final = frozenset(".?!")
_PAUSES: Final = frozenset(".?!,;:)")
_MONTHS: Final = frozenset(MONTHS.values())


def _places(words: list[Word], marks: list[int]) -> list[int]:
    """Return for places among ``words`` the places among those that carry content."""
    if not marks or marks == [0]:
        return marks
    places = [0]
    for word in words:
        places.append(places[-1] + (word[1] >= K_DATE))
    return [places[mark] for mark in marks]


def _add_number(words: list[Word], word: Word, spelled: bool) -> bool:
    """Append a number, joined with the number in words before it; return whether more may join."""
    if len(words) > 1 and words[-1].text == "of" and _add_share(words, word):
        return False
    if not word.text.isalpha():
        words.append(word)
        return False
    if words and word.text in _FRACTIONS and (words[-1].key == "one" or words[-1].kind == K_NUMBER):
        left = 1.0 if words[-1].key == "one" else float(words[-1].key)
        words[-1] = Word(number_key(left / _FRACTIONS[word.text]), K_NUMBER, word.text, False)
        return False
    if words and word.text in SCALES and (words[-1].key == "one" or words[-1].kind == K_NUMBER):
        left = 1.0 if words[-1].key == "one" else float(words[-1].key)
        words[-1] = Word(number_key(left * SCALES[word.text]), K_NUMBER, word.text, False)
        return True
    if spelled and words and words[-1].kind == K_NUMBER and (word.text in ONES or word.text in TENS):
        words[-1] = Word(number_key(float(words[-1].key) + float(word.key)), K_NUMBER, word.text, False)
        return True
    words.append(word)
    return word.text in TENS or word.text in ONES


_THIRDS: Final = {"0.333": 1 / 3, "0.667": 2 / 3}


def _add_share(words: list[Word], word: Word) -> bool:
    """Replace *half of 60* or *0.4 times of ten* by its value; return whether the words end so."""
    place = -2
    if words[-2].key == "tim" and len(words) > 2:
        place = -3
    left = words[place]
    if left.kind != K_NUMBER or (place == -2 and not 0 < float(left.key) < 1):
        return False
    words[place:] = [
        Word(number_key(_THIRDS.get(left.key, float(left.key)) * float(word.key)), K_NUMBER, word.text, False)
    ]
    return True


@lru_cache(maxsize=4096)
def analyse(text: str) -> Analysis:
    """Return the analysis of ``text``, remembered for the texts seen last."""
    return Analysis(text)
