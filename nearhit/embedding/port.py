"""Embedder port: what the cache asks of whatever turns texts into vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What one embedding call gave.

    Attributes:
        vectors: ``(n, dim) float32, unit rows``, in the order of the texts.
        tokens: tokens that the provider counted; 0 where it does not say.
        cost_dollars: price of the call in US dollars; 0.0 where it is unknown.
    """

    vectors: NDArray[np.float32]
    tokens: int = 0
    cost_dollars: float = 0.0


class Embedder(Protocol):
    """Turns texts into unit vectors.

    It may say besides how much of a text it reads, with ``sight(text) -> Sight``; of one that does not, a cautious
    assumption is made (``nearhit.embedding.sight``). Texts that differ in what was not read share no answer.

    Attributes:
        name: the model string, for example ``local/minilm``.
        in_process: the work is bounded CPU work of this process, so that it may run on the caller's thread.
    """

    name: str
    in_process: bool

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` in one call.

        Raises:
            ContractError: the texts can never be embedded (refused, wrong dimension, NaN).
            EmbedderUnavailableError: no answer within ``timeout_seconds``, a rate limit, a lost connection.
        """

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` in one call without blocking the event loop; raises as ``embed`` does."""
