"""Deadline embedder: adds a time limit to a remote embedder, whatever its client does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.domain.sight import sight_of
from nearhit.errors import EmbedderUnavailableError
from nearhit.resilience.deadline import MAX_ABANDONED, BoundedCalls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.domain.sight import Sight
    from nearhit.flow.ports import Embedder, Embeddings


class DeadlineEmbedder:
    """The embedder ``inner``, with answers or errors within ``timeout_seconds``.

    Args:
        inner: the embedder that does the work.
        max_abandoned: how many hanging calls are tolerated before further ones are refused; see ``BoundedCalls``.

    Raises:
        ConfigError: ``max_abandoned`` is less than 1.
    """

    def __init__(self, inner: Embedder, max_abandoned: int = MAX_ABANDONED) -> None:
        self.name = inner.name
        self.in_process = inner.in_process
        self.inner = inner
        self._sight = sight_of(inner)
        self._calls: BoundedCalls[Embeddings] = BoundedCalls(
            inner.name, EmbedderUnavailableError, "nearhit-embed", max_abandoned
        )

    def __repr__(self) -> str:
        return f"DeadlineEmbedder({self.inner!r})"

    def sight(self, text: str) -> Sight:
        """Return how much of ``text`` the inner embedder reads, or what is assumed where it does not say."""
        return self._sight(text)

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts``; raises what the inner embedder raises.

        Raises:
            EmbedderUnavailableError: also when nothing came within ``timeout_seconds``, or when too many
                earlier calls still hang.
        """
        given = list(texts)
        return self._calls.run(lambda: self.inner.embed(given, timeout_seconds), timeout_seconds)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` as ``embed`` does; the inner call is cancelled at the deadline."""
        return await self._calls.run_async(self.inner.embed_async(texts, timeout_seconds), timeout_seconds)
