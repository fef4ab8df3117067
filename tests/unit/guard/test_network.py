"""Network: the weights that ship and what they are bound to."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from nearhit.errors import ConfigError
from nearhit.guard.features import FEATURES
from nearhit.guard.network import WEIGHTS_FILE, default_network, pack, read_network, unpack


def test_the_weights_that_ship_fit_the_features_and_say_how_they_were_trained() -> None:
    document = json.loads((files("nearhit.guard") / WEIGHTS_FILE).read_text(encoding="utf-8"))

    assert document["features"] == list(FEATURES)
    assert "source" not in document["features"]
    assert document["trained"]["examples"] > 0


def test_weights_of_other_features_are_refused() -> None:
    document = json.loads((files("nearhit.guard") / WEIGHTS_FILE).read_text(encoding="utf-8"))
    document["features"] = document["features"][:-1]

    with pytest.raises(ConfigError, match="other features"):
        read_network(document)


def test_packed_numbers_come_back() -> None:
    numbers = np.array([[0.5, -2.0], [1.25, 0.0]], dtype=np.float32)

    assert np.array_equal(unpack(pack(numbers), (2, 2)), numbers)


def test_the_networks_side_by_side_give_the_mean_of_each_alone() -> None:
    document = json.loads((files("nearhit.guard") / WEIGHTS_FILE).read_text(encoding="utf-8"))
    values = [0.9] + [1.0] * (len(FEATURES) - 1)

    alone = [read_network({**document, "networks": [part]}).probability(values) for part in document["networks"]]

    logits = [np.log(p / (1 - p)) for p in alone]
    expected = 1 / (1 + np.exp(-np.mean(logits)))
    assert default_network().probability(values) == pytest.approx(expected, abs=1e-4)
