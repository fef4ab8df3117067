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
_LAYERS: Final = ("w1", "b1", "w2", "b2", "w3", "b3")


@dataclass(frozen=True, slots=True)
class Network:
    """Several small networks in one: two hidden layers each, their outputs averaged before the logistic.

    Attributes:
        most: what a feature counts at most; ``(features,)``.
        layers: the matrices and offsets, the networks side by side; the first takes the logarithms of the features
            and has their mean and deviation worked in.
    """

    most: Floats
    layers: tuple[Floats, Floats, Floats, Floats, Floats, float]

    def probability(self, values: Sequence[float]) -> float:
        """Return the chance of a right answer for the values of ``FEATURES``, 0 to 1; those left out are zeros."""
        w1, b1, w2, b2, w3, b3 = self.layers
        row = np.array(values, dtype=np.float32)
        size = len(row)
        np.minimum(row, self.most[:size], out=row)
        np.log1p(row, out=row)
        hidden = row @ w1[:size]
        hidden += b1
        np.maximum(hidden, 0.0, out=hidden)
        hidden = hidden @ w2
        hidden += b2
        np.maximum(hidden, 0.0, out=hidden)
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, float(hidden @ w3) + b3))))


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
    first, second = document["hidden"]
    width = len(FEATURES)
    shapes = ((width, first), (first,), (first, second), (second,), (second,), (1,))
    layers = [[unpack(part[name], shape) for name, shape in zip(_LAYERS, shapes, strict=True)] for part in parts]
    w1, b1, _, b2, w3, b3 = (np.concatenate([layer[n] for layer in layers], axis=-1) for n in range(len(_LAYERS)))
    w2 = np.zeros((first * len(parts), second * len(parts)), dtype=np.float32)
    for place, layer in enumerate(layers):
        w2[place * first : (place + 1) * first, place * second : (place + 1) * second] = layer[2]
    share = np.float32(1 / len(parts))
    deviation = np.array(document["deviation"], dtype=np.float32)[:, None]
    mean = np.array(document["mean"], dtype=np.float32)
    b1 = (b1 - (mean[:, None] * w1 / deviation).sum(axis=0)).astype(np.float32)
    most = np.expm1(mean + CLIP * deviation[:, 0])
    w1 = (w1 / deviation).astype(np.float32)
    return Network(most, (w1, b1, w2, b2, w3.astype(np.float32) * share, float(b3.mean())))
