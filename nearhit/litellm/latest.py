"""Latest: the similarity of the latest LiteLLM call, for callers who pass no metadata."""

from __future__ import annotations

from contextvars import ContextVar

_similarity: ContextVar[float | None] = ContextVar("nearhit_litellm_similarity", default=None)


def latest_similarity() -> float | None:
    """Return how alike the nearest entry was to the question of the latest call in this thread or asyncio task.

    LiteLLM gives a cache no way to say so unless the call carries ``metadata``.

    Returns:
        0.0 to 1.0: 1.0 for an exact hit, 0.0 where nothing was near; ``None`` before the first call.
    """
    return _similarity.get()


def remember_similarity(similarity: float) -> None:
    """Keep a similarity for ``latest_similarity``."""
    _similarity.set(similarity)
