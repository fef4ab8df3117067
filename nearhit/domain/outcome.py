"""Outcome: the result of a lookup, a hit or a miss with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, structs

if TYPE_CHECKING:
    from nearhit.domain.entry import Usage


class Tier(StrEnum):
    """Where a hit was found."""

    EXACT = "exact"
    SEMANTIC = "semantic"


class MissReason(StrEnum):
    """Why a lookup is a miss. A closed set: it is a metric label."""

    EMPTY = "empty"
    BELOW_THRESHOLD = "below_threshold"
    UNSEEN = "unseen"
    GUARD = "guard"
    JUDGE = "judge"
    EXPIRED = "expired"
    REFUSED = "refused"
    UNREADABLE = "unreadable"
    UNAVAILABLE = "unavailable"
    BUSY = "busy"
    EMBEDDER_UNAVAILABLE = "embedder_unavailable"
    EMBEDDER_REFUSED = "embedder_refused"
    INDEX_LOST = "index_lost"
    WARMING = "warming"
    MISCONFIGURED = "misconfigured"
    CLOSED = "closed"
    ERROR = "error"
    BYPASS_EMPTY = "bypass_empty"
    BYPASS_TOO_LONG = "bypass_too_long"
    BYPASS_TOO_LARGE = "bypass_too_large"
    BYPASS_NOT_TEXT = "bypass_not_text"
    BYPASS_NOT_UNICODE = "bypass_not_unicode"
    BYPASS_UNKNOWN_PART = "bypass_unknown_part"
    BYPASS_SCOPE = "bypass_scope"


class FillOutcome(StrEnum):
    """What became of a fill at its caller. A closed set: it is a metric label."""

    ACCEPTED = "accepted"
    SPOOLED = "spooled"
    DROPPED = "dropped"
    REFUSED = "refused"
    BYPASSED = "bypassed"


class Nearest(Struct, frozen=True):
    """The nearest entry examined, kept to explain a miss.

    Attributes:
        prompt: its canonical text.
        similarity: its cosine similarity to the question.
        refusal: the guard's reason, where it was the guard that refused, or the judge's (``different``, ``unsure``,
            ``failed``); of an ``unseen`` one, which difference the embedder did not read (``cut_text``,
            ``unknown_tokens``, ``accents``), or that it lies in an ``excerpt``; else empty.
    """

    prompt: str
    similarity: float
    refusal: str = ""


class Hit(Struct, frozen=True, kw_only=True):
    """An answer from the cache. True in a condition.

    Attributes:
        answer: what was given to ``fill``: text or other JSON.
        tier: exact or semantic.
        similarity: cosine similarity of the question and the cached one; 1.0 for an exact hit.
        prompt: canonical text of the question asked.
        cached_prompt: canonical text of the question that was answered.
        key: the entry's key on the server.
        age_seconds: how long ago the answer was given.
        lifetime_seconds: how long after that it may be served; 0 where nobody said.
        fresh: False after the soft time to live: still right to serve. Asked again in the background where it is
            ``refreshable``; else it is served until its hard time to live, and the caller may fill it again.
        refreshable: the entry says how to ask its model again.
        usage: tokens and dollars that this hit saved; ``None`` where nobody said.
        threshold: the one that was in force, for semantic hits.
        stages: seconds by stage: ``exact``, ``embed``, ``search``, ``guard``, ``judge``, ``total``.

    >>> asked, cached = "How long do I boil an egg?", "How long should I boil an egg?"
    >>> key = "nearhit:faq:0123456789ab:e:…"
    >>> outcome = Hit(
    ...     answer="Seven minutes.", tier=Tier.SEMANTIC, similarity=0.94, prompt=asked, cached_prompt=cached, key=key,
    ...     age_seconds=60.0,
    ... )
    >>> outcome.answer if outcome else "ask the model"
    'Seven minutes.'
    """

    answer: Any
    tier: Tier
    similarity: float
    prompt: str
    cached_prompt: str
    key: str
    age_seconds: float
    lifetime_seconds: float = 0.0
    fresh: bool = True
    refreshable: bool = False
    usage: Usage | None = None
    threshold: float | None = None
    stages: dict[str, float] = {}

    def __bool__(self) -> Literal[True]:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hit) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[Any, ...]:
        """What makes two hits equal: everything but the time that they took."""
        return structs.astuple(self)[:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """No answer, and why. False in a condition. Give it to ``fill`` with the answer.

    Attributes:
        reason: why there is none.
        prompt: canonical text of the question; empty for a bypass.
        nearest: the nearest entry that was not good enough.
        scope: hex digest of who may share the answer; empty for a bypass.
        tenant: hex digest of the tenant; empty for none.
        vector: the question's unit vector, float32 little endian, so that it is embedded once; empty if not embedded.
        embedder: fingerprint of what made ``vector``.
        detail: for a failure, what was wrong, without any text of the question.
        threshold: the one that was in force; ``None`` where it did not come to that.
        stages: seconds by stage, as far as it came.

    >>> outcome = Miss(reason=MissReason.GUARD, nearest=Nearest("How long do I boil 2 eggs?", 0.97, "number"))
    >>> outcome.answer if outcome else "ask the model"
    'ask the model'
    >>> f"{outcome.reason}: {outcome.nearest.refusal}"
    'guard: number'
    >>> Miss(reason=MissReason.BYPASS_EMPTY).bypass
    True
    """

    reason: MissReason
    prompt: str = ""
    nearest: Nearest | None = None
    scope: str = ""
    tenant: str = ""
    vector: bytes = field(default=b"", repr=False)
    embedder: str = ""
    detail: str = ""
    threshold: float | None = None
    stages: dict[str, float] = field(default_factory=dict, compare=False)

    def __bool__(self) -> Literal[False]:
        return False

    @property
    def bypass(self) -> bool:
        """True when the question cannot be cached at all; ``fill`` then does nothing."""
        return self.reason.startswith("bypass")


class Stored(StrEnum):
    """What became of an entry that was to be written."""

    STORED = "stored"
    STALE = "stale"
    BUSY = "busy"
