"""Network: the trained weights, read once from their file, and the probability that they give."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from nearhit.errors import ConfigError
from nearhit.guard.features import FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

WEIGHTS_FILE: Final = "weights.json"
CLIP: Final = 5.0  # in standard deviations: a text unlike all that were seen must not run away
LAYERS: Final = ("w1", "b1", "w2", "b2")


@dataclass(frozen=True, slots=True)
class Network:
    """Several small networks in one: a hidden layer each, their outputs averaged before the logistic.

    Attributes:
        most: what a feature counts at most; ``(features,)``.
        w1: ``(features, units)``, the networks side by side; takes the logarithms of the features and has their mean
            and deviation worked in.
        b1: ``(units,)``.
        w2: ``(units,)``.
        b2: the offset of the output.
        zeros: ``(units,)``.
    """

    most: Floats
    w1: Floats
    b1: Floats
    w2: Floats
    b2: float
    zeros: Floats

    def probability(self, values: Sequence[float]) -> float:
        """Return the chance of a right answer for the values of ``FEATURES``, 0 to 1; those left out are zeros."""
        row = np.array(values, np.float32)
        size = len(values)
        np.minimum(row, self.most[:size], out=row)
        np.log1p(row, out=row)
        hidden = row.dot(self.w1[:size])
        hidden += self.b1
        np.maximum(hidden, self.zeros, out=hidden)
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, float(hidden.dot(self.w2)) + self.b2))))


def pack(numbers: Floats) -> str:
    """Return ``numbers`` as base64 of little-endian half-precision numbers, for the weights file."""
    return base64.b64encode(np.ascontiguousarray(numbers, dtype="<f2").tobytes()).decode("ascii")


def unpack(text: str, shape: tuple[int, ...]) -> Floats:
    """Return the float32 array of ``shape`` that ``pack`` wrote."""
    return np.frombuffer(base64.b64decode(text), dtype="<f2").reshape(shape).astype(np.float32)


@cache
def default_network() -> Network:
    """Return the network that ships, read once from the package's own file.

    Raises:
        ConfigError: the file was made for other features than this code has.
    """
    return read_network(json.loads((files("nearhit.guard") / WEIGHTS_FILE).read_text(encoding="utf-8")))


def read_network(document: dict[str, Any]) -> Network:
    """Return the network that the document of a weights file holds.

    Raises:
        ConfigError: it was made for other features than this code has.
    """
    if document["features"] != list(FEATURES):
        raise ConfigError(f"{WEIGHTS_FILE} was trained on other features; run bench/train_guard.py again")
    parts = document["networks"]
    units, width = document["hidden"], len(FEATURES)
    shapes = ((width, units), (units,), (units,), (1,))
    layers = [[unpack(part[name], shape) for name, shape in zip(LAYERS, shapes, strict=True)] for part in parts]
    w1, b1, w2, b2 = (np.concatenate([layer[n] for layer in layers], axis=-1) for n in range(len(LAYERS)))
    deviation = np.array(document["deviation"], dtype=np.float32)
    mean = np.array(document["mean"], dtype=np.float32)
    w1 = np.ascontiguousarray(w1 / deviation[:, None])
    b1 = (b1 - mean @ w1).astype(np.float32)
    most = np.expm1(mean + CLIP * deviation)
    return Network(most, w1, b1, (w2 / len(parts)).astype(np.float32), float(b2.mean()), np.zeros_like(b1))
