"""Training: small networks by Adam in numpy, and the document of the weights file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.guard.features import FEATURES
from nearhit.guard.network import CLIP, Network, pack, read_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the networks are trained.

    Attributes:
        networks: how many are averaged; they differ by their seed.
        hidden: widths of the two hidden layers.
        epochs: passes over the examples.
        rate: step of Adam at the start; it falls to nothing along a cosine.
        decay: weight decay.
        dropout: share of hidden units left out of a step.
        batch: examples a step.
    """

    networks: int = 3
    hidden: tuple[int, int] = (64, 32)
    epochs: int = 25
    rate: float = 3e-3
    decay: float = 0.05
    dropout: float = 0.05
    batch: int = 256


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
        "hidden": list(recipe.hidden),
        "mean": [round(float(value), 6) for value in mean],
        "deviation": [round(float(value), 6) for value in deviation],
        "networks": [
            {name: pack(layer) for name, layer in zip(("w1", "b1", "w2", "b2", "w3", "b3"), layers, strict=True)}
            for layers in networks
        ],
    }


def network_of(values: Floats, right: NDArray[np.bool_], weights: Floats, recipe: Recipe) -> Network:
    """Return the network trained on examples, as it would be read from its file."""
    return read_network(train(values, right, weights, recipe))


def _fit(rows: Floats, target: Floats, weights: Floats, recipe: Recipe, seed: int) -> list[Floats]:
    chance = np.random.default_rng(seed)
    layers = _start(chance, rows.shape[1], recipe.hidden)
    first = [np.zeros_like(layer) for layer in layers]
    second = [np.zeros_like(layer) for layer in layers]
    steps_in_epoch = len(rows) // recipe.batch
    step = 0
    for _ in range(recipe.epochs):
        order = chance.permutation(len(rows))
        for start in range(0, steps_in_epoch * recipe.batch, recipe.batch):
            step += 1
            chosen = order[start : start + recipe.batch]
            slopes = _slopes(layers, rows[chosen], target[chosen], weights[chosen], chance, recipe.dropout)
            rate = recipe.rate * 0.5 * (1 + np.cos(np.pi * step / (steps_in_epoch * recipe.epochs)))
            for layer, slope, mean, square in zip(layers, slopes, first, second, strict=True):
                mean += 0.1 * (slope - mean)
                square += 0.001 * (slope * slope - square)
                change = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
                if layer.ndim == 2:
                    change += recipe.decay * layer
                layer -= np.float32(rate) * change
    return layers


def _start(chance: np.random.Generator, width: int, hidden: tuple[int, int]) -> list[Floats]:
    """Return layers w1, b1, w2, b2, w3, b3 with random weights."""
    layers: list[Floats] = []
    for inputs, outputs in ((width, hidden[0]), (hidden[0], hidden[1]), (hidden[1], 1)):
        weight = chance.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)
        layers += [weight.astype(np.float32), np.zeros(outputs, dtype=np.float32)]
    return layers


def _slopes(
    layers: list[Floats], rows: Floats, target: Floats, weights: Floats, chance: np.random.Generator, dropout: float
) -> list[Floats]:
    w1, b1, w2, b2, w3, b3 = layers
    keep = np.float32(1 - dropout)
    hidden1 = np.maximum(rows @ w1 + b1, 0)
    mask1 = (chance.random(hidden1.shape, dtype=np.float32) < keep) / keep
    hidden1 *= mask1
    hidden2 = np.maximum(hidden1 @ w2 + b2, 0)
    mask2 = (chance.random(hidden2.shape, dtype=np.float32) < keep) / keep
    hidden2 *= mask2
    output = np.clip((hidden2 @ w3)[:, 0] + b3[0], -30, 30)
    error = ((1 / (1 + np.exp(-output)) - target) * weights / len(rows)).astype(np.float32)[:, None]
    back2 = (error @ w3.T) * (hidden2 > 0) * mask2
    back1 = (back2 @ w2.T) * (hidden1 > 0) * mask1
    return [rows.T @ back1, back1.sum(0), hidden1.T @ back2, back2.sum(0), hidden2.T @ error, error.sum(0)]
