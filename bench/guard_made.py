"""Made examples: labelled pairs turned by hand of a program into others whose label is known from the turn.

Two words that change places, a sentence or a number left out, another thing asked for: another answer. A phrase put
first, a list turned round, a slip of the pen, a courtesy, a sentence about somebody else: the same answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from nearhit.guard.analysis import analyse
from nearhit.guard.words import K_CONTENT, K_DATE, K_ENTITY, K_NUMBER, K_STOP, Word, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.evaluation import PairRow

    Turn = Callable[[str], str | None]

_EDGES: Final = re.compile(r"^([\W_]*)(.*?)([\W_]*)$", re.DOTALL)
_SENTENCE: Final = re.compile(r"(?<=[.?!])\s+")
_NUMBER: Final = re.compile(r"(?<![\w.,$/-])\d+(?:\.\d+)?(?![\w./%-])")
_ASKED: Final = re.compile(r"^((?:what|which|how many)\s+)([a-z]{4,})\b", re.IGNORECASE)
_FIRST: Final = re.compile(
    r"^((?:In|On|At|During|From|Since|After|Before|With|For|If|When|While|Once) [^,.?]{3,60}), (\w[^.?!]{12,})([.?!]?)$"
)
_LAST: Final = re.compile(
    r"^(\w[^.?!,]{12,}) ((?:in|on|at|during|since) (?:[\w']+ ){0,2}[\w']+"
    r"|(?:if|when|because) (?:[\w']+ ){2,9}[\w']+)([.?!]?)$"
)
_JOINED: Final = frozenset({"and", "or", "&"})
_ARTICLES: Final = frozenset({"the", "a", "an"})
_VAGUE: Final = ("some", "several", "a few", "many")
_COURTESIES: Final = (
    "Could you tell me ", "Please tell me ", "I would like to know ", "hi, ", "Can you help me: ", "Quick question: ",
)  # fmt: skip
_SYMMETRIC: Final = re.compile(
    r"\b(same|similar|between|differen\w+|married|close|compare\w*|related|friends?)\b", re.IGNORECASE
)
_SPREAD: Final = 0.1


@dataclass(frozen=True, slots=True)
class Made:
    """A pair that was made from another.

    Attributes:
        prompt: a text of the pair that it was made from.
        candidate: the other text, turned.
        same: whether one answer is still right for both.
        row: the pair that it was made from.
    """

    prompt: str
    candidate: str
    same: bool
    row: PairRow


@dataclass(slots=True)
class _Token:
    """One chunk of text between spaces: its punctuation, its core and its word, where it is one word."""

    before: str
    core: str
    after: str
    word: Word | None


def made_pairs(rows: Sequence[PairRow]) -> list[Made]:
    """Return pairs made from those of ``rows`` that are the same question; the same input gives the same pairs."""
    chance = np.random.default_rng(11)
    asked: dict[str, list[str]] = {}
    for row in rows:
        match = _ASKED.match(row.prompt)
        if match:
            asked.setdefault(row.source, []).append(match[2])
    long = [row.prompt for row in rows if len(_SENTENCE.split(row.prompt)) > 2]
    found = []
    for row in rows:
        if not row.same or row.kind == "same_intent":
            continue
        one, other = (row.prompt, row.candidate) if chance.random() < 0.5 else (row.candidate, row.prompt)
        for share, same, turn in turns(chance, asked.get(row.source, []), long):
            if chance.random() < share:
                turned = turn(other)
                if turned is not None and turned not in (one, other):
                    found.append(Made(one, turned, same, row))
    return found


def turns(
    chance: np.random.Generator, asked: Sequence[str], long: Sequence[str]
) -> tuple[tuple[float, bool, Turn], ...]:
    """Return how a text is turned: in which share of pairs, whether it stays the same question, and the turn."""
    return (
        (0.9, False, lambda text: _exchanged(text, chance)),
        (0.6, False, lambda text: _exchanged(text, chance)),
        (0.6, False, lambda text: asking_another(text, asked, chance)),
        (0.5, False, lambda text: shortened(text, chance)),
        (0.2, False, lambda text: vague(text, chance)),
        (0.5, True, lambda text: lengthened(text, long, chance)),
        (1.0, True, first_last),
        (1.0, True, last_first),
        (1.0, True, lambda text: turned_list(text, chance)),
        (0.1, True, lambda text: misspelt(text, chance)),
        (0.06, True, lambda text: _COURTESIES[chance.integers(len(_COURTESIES))] + text[0].lower() + text[1:]),
    )


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for chunk in text.split():
        match = _EDGES.match(chunk)
        if match is None:
            continue
        words = words_of(chunk)
        tokens.append(_Token(match[1], match[2], match[3], words[0] if len(words) == 1 else None))
    return tokens


def _text(tokens: Sequence[_Token]) -> str:
    return " ".join(token.before + token.core + token.after for token in tokens)


def _kind(tokens: Sequence[_Token], place: int) -> int:
    """Return the kind of the word at ``place``; a capital at the beginning says nothing."""
    word = tokens[place].word
    if word is None or not tokens[place].core:
        return K_STOP
    return K_CONTENT if place == 0 and word.kind == K_ENTITY else word.kind


def _exchanged(text: str, chance: np.random.Generator) -> str | None:
    """Return ``text`` with two words of a kind in each other's place, where that is no mere order."""
    if _SYMMETRIC.search(text) or analyse(text).edits:  # what is taken back may be said in any order
        return None
    tokens = _tokens(text)
    weights, spots = [], []
    places = [n for n in range(len(tokens)) if _kind(tokens, n) in (K_ENTITY, K_CONTENT, K_NUMBER, K_DATE)]
    for number, i in enumerate(places):
        for j in places[number + 1 :]:
            weight = exchange_weight(tokens, i, j)
            if weight:
                weights.append(weight)
                spots.append((i, j))
    if not spots:
        return None
    i, j = spots[chance.choice(len(spots), p=np.array(weights) / sum(weights))]
    one, other = tokens[i].core, tokens[j].core
    if i == 0:
        one, other = one[0].lower() + one[1:], other[0].upper() + other[1:]
    tokens[i].core, tokens[j].core = other, one
    return _text(tokens)


def exchange_weight(tokens: Sequence[_Token], i: int, j: int) -> float:
    """Return how likely two words are to be exchanged; 0 where that would leave the meaning."""
    kind, one, other = _kind(tokens, i), tokens[i].word, tokens[j].word
    if kind != _kind(tokens, j) or j - i < 2 or one is None or other is None or one.key == other.key:
        return 0.0
    between = range(i + 1, j)
    if all(tokens[n].core.lower() in _JOINED | _ARTICLES or _kind(tokens, n) == kind == K_ENTITY for n in between):
        return 0.0
    weight = 4.0 if kind == K_ENTITY else 3.0 if kind != K_CONTENT else 1.0
    if kind == K_CONTENT and tokens[i].core[-2:] == tokens[j].core[-2:]:
        weight += 2.0
    return weight / (1 + _SPREAD * (j - i))


def asking_another(text: str, asked: Sequence[str], chance: np.random.Generator) -> str | None:
    """Return ``text`` asking for another thing: *which year* becomes *which city*."""
    match = _ASKED.match(text)
    if match is None or not asked or words_of(match[2])[0].kind != K_CONTENT:
        return None
    other = asked[int(chance.integers(len(asked)))]
    if other.lower() == match[2].lower() or words_of(other)[0].kind != K_CONTENT:
        return None
    return f"{match[1]}{other}{text[match.end() :]}"


def shortened(text: str, chance: np.random.Generator) -> str | None:
    """Return ``text`` without a sentence that holds a number."""
    sentences = _SENTENCE.split(text)
    places = [n for n, one in enumerate(sentences[:-1]) if any(character.isdigit() for character in one)]
    if len(sentences) < 3 or not places:
        return None
    del sentences[places[chance.integers(len(places))]]
    return " ".join(sentences)


def lengthened(text: str, long: Sequence[str], chance: np.random.Generator) -> str | None:
    """Return ``text`` with a sentence of another story in it."""
    sentences = _SENTENCE.split(text)
    if len(sentences) < 3 or not long:
        return None
    others = _SENTENCE.split(long[int(chance.integers(len(long)))])[:-1]
    sentences.insert(int(chance.integers(1, len(sentences))), others[chance.integers(len(others))])
    return " ".join(sentences)


def vague(text: str, chance: np.random.Generator) -> str | None:
    """Return ``text`` with a number made vague."""
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return None
    match = numbers[chance.integers(len(numbers))]
    return text[: match.start()] + _VAGUE[chance.integers(len(_VAGUE))] + text[match.end() :]


def first_last(text: str) -> str | None:
    """Return ``text`` with the phrase that it begins with at its end."""
    match = _FIRST.match(text)
    if match is None:
        return None
    phrase, rest, end = match.groups()
    return f"{rest[0].upper()}{rest[1:]} {phrase[0].lower()}{phrase[1:]}{end}"


def last_first(text: str) -> str | None:
    """Return ``text`` with the phrase that it ends with at its beginning."""
    match = _LAST.match(text)
    if match is None:
        return None
    rest, phrase, end = match.groups()
    known = words_of(rest.split()[0])[0].kind != K_ENTITY
    return f"{phrase[0].upper()}{phrase[1:]}, {rest[0].lower() if known else rest[0]}{rest[1:]}{end}"


def turned_list(text: str, chance: np.random.Generator) -> str | None:
    """Return ``text`` with the two words around an *and* or *or* turned round."""
    tokens = _tokens(text)
    places = [
        n
        for n in range(1, len(tokens) - 1)
        if tokens[n].core.lower() in _JOINED
        and _kind(tokens, n - 1) == _kind(tokens, n + 1) in (K_ENTITY, K_CONTENT, K_NUMBER)
        and (n < 2 or _kind(tokens, n - 2) < K_DATE)
        and (n + 2 == len(tokens) or _kind(tokens, n + 2) < K_DATE or tokens[n + 1].after)
    ]
    if not places:
        return None
    place = places[chance.integers(len(places))]
    one, other = tokens[place - 1], tokens[place + 1]
    one.core, other.core = other.core, one.core
    return _text(tokens)


def misspelt(text: str, chance: np.random.Generator) -> str | None:
    """Return ``text`` with a letter lost or two exchanged in a longer word."""
    tokens = _tokens(text)
    places = [n for n, token in enumerate(tokens) if len(token.core) > 5 and _kind(tokens, n) == K_CONTENT]
    if not places:
        return None
    token = tokens[places[chance.integers(len(places))]]
    spot = int(chance.integers(1, len(token.core) - 1))
    left, letter, right = token.core[:spot], token.core[spot], token.core[spot + 1 :]
    token.core = left + right if chance.random() < 0.5 else left + right[0] + letter + right[1:]
    return _text(tokens)
