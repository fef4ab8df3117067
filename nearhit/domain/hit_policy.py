"""Hit policy: the decisions of a lookup and of a fill, without any I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, structs

from nearhit.domain.entry import Entry, from_fields
from nearhit.domain.excerpt import excerpts
from nearhit.domain.neighbour import Chosen
from nearhit.domain.outcome import MissReason, Nearest
from nearhit.domain.sight import Unseen, unseen
from nearhit.errors import ConfigError, EntryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nearhit.domain.neighbour import Neighbour
    from nearhit.domain.question import Question
    from nearhit.domain.sight import SightOf

MAX_TTL_SECONDS = 366 * 86_400
"""The longest life of an entry: no entry is immortal."""


class Ruling(Protocol):
    """What a guard says of two near texts."""

    @property
    def accepted(self) -> bool:
        """Whether the answer of one text is right for the other."""

    @property
    def reason(self) -> str | None:
        """Why not, from a closed set."""


class GuardPort(Protocol):
    """A guard, as lookups and measurements see it: the one that ships, or the caller's own."""

    def judge(self, prompt: str, candidate: str, similarity: float) -> Ruling:
        """Say whether the answer to ``candidate`` is right for ``prompt``; pure, microseconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a hit must satisfy.

    Attributes:
        threshold: smallest cosine similarity, 0 to 1.
        guard: the check that a near text means the same; ``None`` trusts the threshold alone.
        k: how many neighbours are looked at before a lookup is a miss.
        origin: where the threshold comes from: ``settings``, or the field of the entry that was set at run time.
        since_ms: when that entry was set, milliseconds since the epoch; 0 for the setting.
        sight_of: how much the embedder reads of a text; ``None`` takes it to read everything.
        closer: long texts that share nearly everything are compared by the sentences in which they differ, which takes
            an embedding call for each such neighbour.
    """

    threshold: float
    guard: GuardPort | None = None
    k: int = 4
    origin: str = "settings"
    since_ms: int = 0
    sight_of: SightOf | None = None
    closer: bool = False

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if not 1 <= self.k <= 100:
            raise ConfigError(f"k must be 1 to 100, not {self.k!r}")


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long entries live.

    Attributes:
        ttl_seconds: hard time to live, up to a year.
        fresh_seconds: soft one, after which a hit is served and asked again; ``None`` for the hard one.
        jitter: share of the time to live that is taken off at random, so that a burst of fills ends spread out.
    """

    ttl_seconds: float = 86_400.0
    fresh_seconds: float | None = None
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.ttl_seconds <= MAX_TTL_SECONDS:
            raise ConfigError(f"ttl_seconds must be above 0 and at most {MAX_TTL_SECONDS}, not {self.ttl_seconds!r}")
        if self.fresh_seconds is not None and not 0 < self.fresh_seconds <= MAX_TTL_SECONDS:
            raise ConfigError(f"fresh_seconds must be above 0, not {self.fresh_seconds!r}")
        if not 0 <= self.jitter < 1:
            raise ConfigError(f"jitter must be at least 0 and below 1, not {self.jitter!r}")

    def milliseconds(self, chance: float) -> tuple[int, int]:
        """Return hard and soft time to live in milliseconds for a ``chance`` drawn from [0, 1)."""
        ttl = max(1, round(self.ttl_seconds * (1 - self.jitter * chance) * 1000))
        fresh = ttl if self.fresh_seconds is None else min(ttl, max(1, round(self.fresh_seconds * 1000)))
        return ttl, fresh


class Refused(Struct, frozen=True):
    """No entry answers: why, and which one was nearest."""

    reason: MissReason
    nearest: Nearest | None = None


class Undecided(Struct, frozen=True):
    """An entry that is to be compared by excerpts, see ``settle``.

    Attributes:
        chosen: the entry, if its excerpt is near enough.
        excerpts: of the question and of the cached text.
        before: why a nearer entry was refused.
    """

    chosen: Chosen
    excerpts: tuple[str, str]
    before: Refused | None = None


def check_threshold(threshold: Any) -> float:
    """Return ``threshold``, or raise ``ConfigError`` when it is no similarity above 0 and up to 1."""
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise ConfigError(f"threshold must be a similarity above 0 and at most 1, not {threshold!r}")
    return float(threshold)


def judge_exact(fields: Mapping[bytes, bytes], question: Question, now_ms: int) -> Entry | None:
    """Return the entry under the question's own key when it may be served, else ``None``.

    An unreadable or expired entry is no failure here: the semantic tier may still answer, and the next fill replaces
    it.
    """
    try:
        found = from_fields(fields)
    except EntryError:
        return None
    same = found.prompt == question.text and found.scope == question.scope
    return found if same and now_ms < found.expires_ms else None


def choose(
    neighbours: Iterable[Neighbour], question: Question, embedder: str, rules: Rules, now_ms: int
) -> Chosen | Refused | Undecided:
    """Return the nearest neighbour that may be served, or that excerpts must decide about, or why none may.

    Neighbours come nearest first. Each is verified here whatever the server said: scope, embedder, life, similarity,
    guard, and whether the embedder read the difference; one that fails lets the next be looked at. The reason is that
    of the nearest one that failed. Of an iterator, no more is taken than was looked at.
    """
    first: Refused | None = None
    for neighbour in neighbours:
        verdict = weigh(neighbour, question, embedder, rules, now_ms)
        if isinstance(verdict, Chosen):
            return verdict
        if isinstance(verdict, Undecided):
            return structs.replace(verdict, before=first)
        first = first or verdict
        if verdict.reason is MissReason.BELOW_THRESHOLD:
            break
    return first or Refused(MissReason.EMPTY)


def weigh(
    neighbour: Neighbour, question: Question, embedder: str, rules: Rules, now_ms: int
) -> Chosen | Refused | Undecided:
    """Return what becomes of one neighbour, whatever the server said of it."""
    try:
        found = from_fields(neighbour.fields)
    except EntryError:
        gone = not neighbour.fields
        return Refused(MissReason.EXPIRED if gone else MissReason.UNREADABLE)
    if math.isnan(neighbour.similarity):  # a vector that is no vector: max and min would make it 1.0
        return Refused(MissReason.UNREADABLE)
    similarity = max(-1.0, min(1.0, neighbour.similarity))
    nearest = Nearest(found.prompt, similarity)
    if found.scope != question.scope or found.embedder != embedder:
        return Refused(MissReason.UNREADABLE)
    if similarity < rules.threshold:
        return Refused(MissReason.BELOW_THRESHOLD, nearest)
    if now_ms >= found.expires_ms:
        return Refused(MissReason.EXPIRED, nearest)
    chosen = Chosen(neighbour.key, found, similarity)
    return chosen if found.prompt == question.text else _compare(chosen, question, rules)


def _compare(chosen: Chosen, question: Question, rules: Rules) -> Chosen | Refused | Undecided:
    """Return what becomes of a neighbour that is near enough and has another text."""
    cached = chosen.entry.prompt
    missed = unseen(question.text, cached, rules.sight_of) if rules.sight_of is not None else None
    parts = excerpts(question.text, cached) if rules.closer and missed in {None, Unseen.CUT} else None
    if parts is not None and (rules.sight_of is None or unseen(*parts, rules.sight_of) is None):
        return Undecided(chosen, parts)
    if missed is not None:
        return Refused(MissReason.UNSEEN, Nearest(cached, chosen.similarity, missed.value))
    return _guarded(chosen, (question.text, cached), rules)


def settle(undecided: Undecided, similarity: float, rules: Rules) -> Chosen | Refused:
    """Return what becomes of a neighbour whose excerpts have ``similarity``: the lesser one counts from now on."""
    whole = undecided.chosen
    chosen = structs.replace(whole, similarity=min(whole.similarity, similarity))
    if not similarity >= rules.threshold:
        return Refused(MissReason.UNSEEN, Nearest(whole.entry.prompt, chosen.similarity, Unseen.EXCERPT.value))
    return _guarded(chosen, undecided.excerpts, rules)


def _guarded(chosen: Chosen, texts: tuple[str, str], rules: Rules) -> Chosen | Refused:
    if rules.guard is None:
        return chosen
    verdict = rules.guard.judge(*texts, chosen.similarity)
    if not verdict.accepted:
        nearest = Nearest(chosen.entry.prompt, chosen.similarity, str(verdict.reason or ""))
        return Refused(MissReason.GUARD, nearest)
    return structs.replace(chosen, probability=getattr(verdict, "probability", None))


def looks_further(choice: Chosen | Refused) -> bool:
    """Return whether neighbours behind the nearest one may be served although that may not, or was not there.

    A server removes expired entries after its search, so a search for one entry may return none.
    """
    return isinstance(choice, Refused) and choice.reason is not MissReason.BELOW_THRESHOLD


def nearer(first: Chosen | Refused, others: Chosen | Refused) -> Chosen | Refused:
    """Return what becomes of a lookup whose nearest neighbour was refused, from the choice among the others."""
    if isinstance(others, Refused) and isinstance(first, Refused) and first.reason is not MissReason.EMPTY:
        return first
    return others


def settles(choice: Chosen | Refused) -> bool:
    """Return whether a choice among neighbours rules out that the question itself has an entry.

    That entry would have been the nearest one. A miss rules out nothing, because the search is approximate. Neither
    does a neighbour as near as the entry itself: other texts may have the same vector.
    """
    return isinstance(choice, Chosen) and choice.similarity < _SAME


_SAME = 0.999
"""Vectors of one text are at least this similar, from whatever call or batch of an embedder they come."""


def with_response(chosen: Chosen, response: bytes) -> Chosen:
    """Return ``chosen`` with an answer that was fetched after it."""
    return Chosen(chosen.key, structs.replace(chosen.entry, response=response), chosen.similarity)
