"""Sentences: synthetic vectors that lie like those of a sentence embedding model, for measuring an index.

Random gaussian vectors have no near neighbours at all, so any recall measured on them says nothing. These are fitted to
what all-MiniLM-L6-v2 gives to 6,000 questions drawn from 200,000: the eigenvalues of the covariance as in
``_SPECTRUM``, a mean of length 0.23 (here 0.23), and a nearest-neighbour similarity of 0.39, 0.56 and 0.80 at the 5th,
50th and 95th percentile (here 0.31, 0.58 and 0.81, with 4,000 topics).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSION = 384
_SPECTRUM = ((0, 0.0), (8, 0.174), (16, 0.259), (32, 0.377), (64, 0.544), (128, 0.758), (256, 0.962), (384, 1.0))
"""How many leading eigenvalues hold which share of the variance."""

_MEAN = 0.23
_NEAREST_SHARE = (0.38, 0.8)
"""Bounds of the variance that the members of a topic share."""


class Sentences:
    """Draws unit vectors in topics of very unequal size.

    Args:
        topics: number of topics.
        seed: the same seed draws the same vectors.
    """

    def __init__(self, topics: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        places, held = zip(*_SPECTRUM, strict=True)
        cumulated = np.interp(np.arange(DIMENSION + 1), list(places), list(held))
        self._scale = np.sqrt(np.diff(cumulated) * (1 - _MEAN**2)).astype(np.float32)
        basis, _ = np.linalg.qr(self._random.standard_normal((DIMENSION, DIMENSION)))
        self._basis = basis.astype(np.float32)
        self._topics = self._draw(topics)
        self._shares = self._random.uniform(*_NEAREST_SHARE, size=topics).astype(np.float32)
        weights = 1 / np.arange(1, topics + 1) ** 0.5
        self._weights = weights / weights.sum()

    def entries(self, count: int) -> NDArray[np.float32]:
        """Return ``(count, 384) float32`` unit rows."""
        topic = self._random.choice(len(self._topics), size=count, p=self._weights)
        share = self._shares[topic][:, None]
        rows = np.sqrt(share) * self._topics[topic] + np.sqrt(1 - share) * self._draw(count)
        return self._finish(rows.astype(np.float32))

    def paraphrases(self, entries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return for each row one that means nearly the same: a similarity of 0.8 to 0.98."""
        kept = self._random.uniform(0.8, 0.98, size=len(entries)).astype(np.float32)[:, None]
        noise = self._draw(len(entries)) @ self._basis
        noise -= (noise * entries).sum(axis=1, keepdims=True) * entries
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        rows: NDArray[np.float32] = kept * entries + np.sqrt(1 - kept**2) * noise
        return rows.astype(np.float32)

    def _draw(self, count: int) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._random.standard_normal((count, DIMENSION), dtype=np.float32) * self._scale
        return rows

    def _finish(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        turned = rows @ self._basis + np.float32(_MEAN) * self._basis[-1]
        unit: NDArray[np.float32] = turned / np.linalg.norm(turned, axis=1, keepdims=True)
        return unit.astype(np.float32)
