"""Verdict: what the guard answers, and the closed set of reasons for which it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class RefusalReason(StrEnum):
    """Why a near text is no hit; the values are metric labels."""

    NUMBER = "number"
    UNIT = "unit"
    DATE = "date"
    NEGATION = "negation"
    ANTONYM = "antonym"
    COMPARISON = "comparison"
    BEFORE_AFTER = "before_after"
    CONNECTIVE = "connective"
    QUANTIFIER = "quantifier"
    TENSE = "tense"
    ENTITY = "entity"
    IDENTIFIER = "identifier"
    QUOTED = "quoted"
    QUESTION_TYPE = "question_type"
    ATTRIBUTE = "attribute"
    ROLE = "role"
    ORDER = "order"
    SLOT_VALUE = "slot_value"
    DETAIL = "detail"
    INDENTATION = "indentation"
    SYMBOL = "symbol"
    TOO_LONG = "too_long"
    LOW_CONFIDENCE = "low_confidence"


REASONS: tuple[RefusalReason, ...] = tuple(RefusalReason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the answer to the candidate may be given for the prompt.

    Attributes:
        accepted: the candidate's answer may be given.
        reason: why not, or ``None`` when accepted.
        probability: calibrated chance that the candidate's answer is right for the prompt; ``None`` where a rule
            decided alone.
    """

    accepted: bool
    reason: RefusalReason | None
    probability: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that one text says and the other does not.

    Attributes:
        reason: what kind of thing it is.
        prompt: the words of the prompt, normalised; empty where only the candidate says something.
        candidate: the words of the candidate, normalised; empty where only the prompt says something.
    """

    reason: RefusalReason
    prompt: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the guard came to its verdict.

    Attributes:
        verdict: what ``judge`` answers for the same arguments.
        level: the probability from which the guard accepts.
        differences: what the texts do not share, the most telling first.
        features: the values that the model saw, by name.
    """

    verdict: Verdict
    level: float
    differences: tuple[Difference, ...]
    features: Mapping[str, float]
