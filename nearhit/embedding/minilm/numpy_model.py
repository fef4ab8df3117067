"""Numpy model: the forward pass of all-MiniLM-L6-v2 in numpy, for platforms without onnxruntime; tests compare both."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from nearhit.embedding.minilm.architecture import HEADS, HIDDEN, LAYER_NORM_EPSILON, LAYERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
"""Abramowitz and Stegun 7.1.26: within 1.5e-7, which is what float32 holds."""


class NumpyModel:
    """The model over the weights of a model folder; safe to share between threads.

    6 ms a short prompt with one BLAS thread. OPENBLAS_NUM_THREADS=1 is worth setting: with two threads on a
    busy machine of two cores the same prompt took up to 1 s.
    """

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights

    def pooled(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> Floats:
        """Return the mean token vector of every text, ``(n, 384) float32``, not of unit length."""
        weights = self._weights
        rows = weights["embeddings.word_embeddings.weight"][ids]
        rows = rows + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        rows += weights["embeddings.token_type_embeddings.weight"][0]
        rows = self._norm(rows, "embeddings.LayerNorm")
        bias = np.where(mask, np.float32(0), np.float32(-1e9))[:, None, None, :]
        for number in range(LAYERS):
            layer = f"encoder.layer.{number}"
            attended = self._linear(self._context(rows, bias, layer), f"{layer}.attention.output.dense")
            middle = self._norm(attended + rows, f"{layer}.attention.output.LayerNorm")
            narrow = self._linear(gelu(self._linear(middle, f"{layer}.intermediate.dense")), f"{layer}.output.dense")
            rows = self._norm(narrow + middle, f"{layer}.output.LayerNorm")
        shares = mask / mask.sum(axis=1, keepdims=True)
        return cast("Floats", np.einsum("nl,nlh->nh", shares, rows).astype(np.float32))

    def _context(self, rows: Floats, bias: Floats, layer: str) -> Floats:
        heads = (*rows.shape[:2], HEADS, HIDDEN // HEADS)
        query, key, value = (
            self._linear(rows, f"{layer}.attention.self.{part}").reshape(heads).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        weights = query @ key.swapaxes(-1, -2) * np.float32((HIDDEN // HEADS) ** -0.5) + bias
        weights = np.exp(weights - weights.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return cast("Floats", (weights @ value).transpose(0, 2, 1, 3).reshape(rows.shape))

    def _linear(self, rows: Floats, name: str) -> Floats:
        flat = rows.reshape(-1, rows.shape[-1])  # one product of two matrices, not one a text
        result = flat @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return cast("Floats", result.reshape(*rows.shape[:-1], -1))

    def _norm(self, rows: Floats, name: str) -> Floats:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        centred /= np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(LAYER_NORM_EPSILON))
        return cast("Floats", centred * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])


def gelu(values: Floats) -> Floats:
    """Return the exact GELU of every value."""
    scaled = np.abs(values) * np.float32(2**-0.5)
    step = 1 / (1 + np.float32(0.3275911) * scaled)
    series = np.zeros_like(step)
    for factor in reversed(_ERF):
        series = (series + np.float32(factor)) * step
    erf = np.copysign(1 - series * np.exp(-np.square(scaled)), values)
    return cast("Floats", values * np.float32(0.5) * (1 + erf))
