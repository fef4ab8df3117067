"""Judges: say whether a fresh answer agrees with the cached one: by its words, its vector, or another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nearhit.domain.vectors import checked_rows
from nearhit.verification.agreement import Agreement, equal
from nearhit.verification.llm import LlmAnswerJudge

if TYPE_CHECKING:
    from nearhit.flow.ports import Embedder
    from nearhit.settings import Settings
    from nearhit.verification.agreement import Answers

_EMBED_SECONDS = 20.0


class AnswerJudge(Protocol):
    """Says whether two answers to a question agree."""

    def judge(self, answers: Answers) -> Agreement:
        """Judge two answers.

        Raises:
            UnavailableError: the judge does not answer now.
            ConfigError: it cannot answer as it is set.
            ContractError: it refuses the answers, or gives no clear answer itself.
        """


class ExactAnswerJudge:
    """Takes answers for the same whose words are the same."""

    def judge(self, answers: Answers) -> Agreement:
        """Judge by the texts, but for case, white space and punctuation around them."""
        return Agreement(equal(answers.cached, answers.fresh))


class EmbeddingAnswerJudge:
    """Compares the vectors of two answers.

    Args:
        embedder: the cache's own.
        similarity: from which two answers agree.
    """

    def __init__(self, embedder: Embedder, similarity: float) -> None:
        self._embedder = embedder
        self._similarity = similarity

    def judge(self, answers: Answers) -> Agreement:
        """Judge by the cosine of the answers' vectors."""
        made = self._embedder.embed((answers.cached, answers.fresh), _EMBED_SECONDS)
        vectors = checked_rows(made.vectors, 2)
        return Agreement(float(vectors[0] @ vectors[1]) >= self._similarity, made.cost_dollars)


def judge_of(settings: Settings, embedder: Embedder) -> AnswerJudge:
    """Return the judge that ``verify_judge`` names."""
    if settings.verify_judge == "embedding":
        return EmbeddingAnswerJudge(embedder, settings.verify_similarity)
    return LlmAnswerJudge(settings.verify_judge_model) if settings.verify_judge == "llm" else ExactAnswerJudge()
