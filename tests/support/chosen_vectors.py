"""ChosenVectors vectors: an embedder whose vectors a test chooses, and lookups that wait for a write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from nearhit_worker.stack import wait_until

from nearhit import Hit, Miss, MissReason
from nearhit.domain.vectors import unit_rows
from nearhit.errors import EmbedderUnavailableError
from nearhit.flow.ports import Embeddings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tests.support.faces import Face
    from tests.support.store import Store

    Faces = Callable[..., Face]
    Stores = Callable[..., Store]

DIMENSION = 32


class ChosenVectors:
    """An embedder whose vectors the test chooses; of any other text it knows nothing."""

    name, in_process = "chosen/32", True

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.known: dict[str, NDArray[np.float32]] = {}
        self.broken = False
        self._probe = unit_rows([np.ones(dimension)])[0]

    def knows(self, text: str, vector: Any) -> NDArray[np.float32]:
        self.known[text] = unit_rows([vector])[0]
        return self.known[text]

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        if self.broken:
            raise EmbedderUnavailableError("the provider is down")
        return Embeddings(np.stack([self.known.get(text, self._probe) for text in texts]))

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        return self.embed(texts, timeout_seconds)


def axis(*values: float) -> NDArray[np.float64]:
    return np.array([*values, *[0.0] * (DIMENSION - len(values))])


def eventually(cache: Face, prompt: str, scope: Any = None) -> Hit:
    """Look up until the write is visible to the reader; both engines promise milliseconds, machines do not."""
    found: list[Hit | Miss] = []

    def hit() -> bool:
        found.append(cache.lookup(prompt, scope))
        return bool(found[-1])

    wait_until(hit, 10, f"{prompt!r} is found")
    assert isinstance(found[-1], Hit)
    return found[-1]


def reason(outcome: Hit | Miss) -> MissReason:
    assert isinstance(outcome, Miss), outcome
    return outcome.reason
