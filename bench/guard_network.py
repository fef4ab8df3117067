"""Training: small networks by Adam in numpy, and the document of the weights file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.guard.features import FEATURES
from nearhit.guard.network import CLIP, LAYERS, Network, pack, read_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the networks are trained.

    Attributes:
        networks: how many are averaged; they differ by their seed.
        hidden: width of the hidden layer.
        epochs: passes over the examples.
        rate: step of Adam at the start; it falls to nothing along a cosine.
        decay: weight decay.
        batch: examples a step.
    """

    networks: int = 3
    hidden: int = 32
    epochs: int = 10
    rate: float = 6e-3
    decay: float = 0.05
    batch: int = 512


def train(values: Floats, right: NDArray[np.bool_], weights: Floats, recipe: Recipe) -> dict[str, Any]:
    """Return the document of a weights file trained on examples; the same input gives the same document.

    Args:
        values: ``(n, features)``, as ``features`` gives them.
        right: whether the candidate's answer was right.
        weights: how much each example counts.
        recipe: how to train.
    """
    rows = np.log1p(values.astype(np.float32))
    mean = rows.mean(axis=0)
    deviation = rows.std(axis=0) + 0.05  # a feature that is nearly constant must not blow up
    rows = np.clip((rows - mean) / deviation, -CLIP, CLIP).astype(np.float32)
    target = right.astype(np.float32)
    networks = [_fit(rows, target, weights.astype(np.float32), recipe, seed) for seed in range(recipe.networks)]
    return {
        "format": 1,
        "features": list(FEATURES),
        "hidden": recipe.hidden,
        "mean": [round(float(value), 6) for value in mean],
        "deviation": [round(float(value), 6) for value in deviation],
        "networks": [{name: pack(layer) for name, layer in zip(LAYERS, layers, strict=True)} for layers in networks],
    }


def network_of(values: Floats, right: NDArray[np.bool_], weights: Floats, recipe: Recipe) -> Network:
    """Return the network trained on examples, as it would be read from its file."""
    return read_network(train(values, right, weights, recipe))


def _fit(rows: Floats, target: Floats, weights: Floats, recipe: Recipe, seed: int) -> list[Floats]:
    """Return the layers w1, b1, w2, b2 of one network."""
    chance = np.random.default_rng(seed)
    width, units = rows.shape[1], recipe.hidden
    w1 = (chance.standard_normal((width, units)) * np.sqrt(2 / width)).astype(np.float32)
    w2 = (chance.standard_normal(units) * np.sqrt(2 / units)).astype(np.float32)
    layers = [w1, np.zeros(units, np.float32), w2, np.zeros(1, np.float32)]
    first = [np.zeros_like(layer) for layer in layers]
    second = [np.zeros_like(layer) for layer in layers]
    steps = len(rows) // recipe.batch * recipe.epochs
    step = 0
    for _ in range(recipe.epochs):
        order = chance.permutation(len(rows))
        for start in range(0, len(rows) - recipe.batch + 1, recipe.batch):
            step += 1
            chosen = order[start : start + recipe.batch]
            w1, b1, w2, b2 = layers
            inputs = rows[chosen]
            hidden = np.maximum(inputs @ w1 + b1, 0)
            output = np.clip(hidden @ w2 + b2[0], -30, 30)
            error = ((1 / (1 + np.exp(-output)) - target[chosen]) * weights[chosen] / recipe.batch).astype(np.float32)
            back = np.outer(error, w2) * (hidden > 0)
            slopes = [inputs.T @ back, back.sum(0), hidden.T @ error, error.sum(keepdims=True)]
            rate = recipe.rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            for layer, slope, mean, square in zip(layers, slopes, first, second, strict=True):
                mean += 0.1 * (slope - mean)
                square += 0.001 * (slope * slope - square)
                change = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
                if layer is w1 or layer is w2:
                    change += recipe.decay * layer
                layer -= np.float32(rate) * change
    return layers
