"""Judge port: what the cache asks of whatever compares two questions in the second stage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Sameness(StrEnum):
    """Whether two questions ask the same. A closed set: it is a metric label."""

    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of two questions.

    Attributes:
        verdict: ``same`` lets the answer be served; both others do not.
        probability: the chance that they ask the same, 0 to 1.
        tokens: tokens that the provider counted; 0 where it does not say.
        cost_dollars: price of the call in US dollars; 0.0 where it is unknown.
    """

    verdict: Sameness
    probability: float
    tokens: int = 0
    cost_dollars: float = 0.0


class PairJudge(Protocol):
    """Says whether two questions ask the same, so that the answer to one fits the other.

    Called from many threads at once. A call is held to its time limit from outside, whatever it does; one that keeps
    the limit itself costs no thread that hangs.

    Attributes:
        name: what it is, for example ``litellm/openai/gpt-4o-mini``; verdicts are remembered under it.
    """

    name: str

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return whether ``candidate`` asks the same as ``prompt``.

        Args:
            prompt: the question that is asked now.
            candidate: the question whose answer is in the cache.
            timeout_seconds: longest time of the call.

        Raises:
            ContractError: it gave no verdict, or can never give one for these texts.
            JudgeUnavailableError: no answer within ``timeout_seconds``, a rate limit, a lost connection.
        """

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return what ``judge`` returns without blocking the event loop; raises as ``judge`` does."""
