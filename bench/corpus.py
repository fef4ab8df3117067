"""Corpus: texts with clustered unit vectors made from a seed, and an embedder that knows them at no cost."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from nearhit.flow.ports import Embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

DIMENSION = 384
_CLUSTERS = 2_000
_WIDTH = 0.35
"""Spread inside a cluster: neighbours of one cluster are then 0.85 to 0.95 alike, as rewordings are."""

_BLOCK = 10_000
"""Rows made at once, so that a corpus of a million needs no second copy of itself."""


class Corpus:
    """``size`` texts with vectors, in clusters. Also an ``Embedder``: a question is embedded by looking it up.

    A text ``ask <n>`` is a rewording of ``text <n>``: another text with nearly the same vector.

    Args:
        size: how many texts.
    """

    name = "bench/384"
    in_process = True

    def __init__(self, size: int) -> None:
        make = np.random.default_rng(7)
        centres = make.standard_normal((_CLUSTERS, DIMENSION), dtype=np.float32)
        self._shift = make.standard_normal(DIMENSION).astype(np.float32) * 0.01
        self.vectors: NDArray[np.float32] = np.empty((size, DIMENSION), dtype=np.float32)
        for start in range(0, size, _BLOCK):
            block = self.vectors[start : start + _BLOCK]
            block[:] = _WIDTH * make.standard_normal(block.shape, dtype=np.float32)
            block += centres[make.integers(0, _CLUSTERS, len(block))]
            block /= np.linalg.norm(block, axis=1, keepdims=True)
        self.size = size

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:  # noqa: ARG002 - the port's signature
        """Return the vectors of texts of this corpus; any other text has one of its own."""
        rows = np.stack([self._vector(text) for text in texts])
        return Embeddings(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Return the same as ``embed``."""
        return self.embed(texts, timeout_seconds)

    def _vector(self, text: str) -> NDArray[np.float32]:
        kind, _, number = text.partition(" ")
        if kind in {"text", "ask"} and number.isdigit() and int(number) < self.size:
            vector: NDArray[np.float32] = self.vectors[int(number)]
            return vector if kind == "text" else vector + self._shift
        return np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSION).astype(np.float32)
