"""Shown: what Grafana's stat panels show for the answers of Prometheus, computed as Grafana does.

A second implementation of the little that these boards use: the last value of an instant, thresholds, and the mapping
of what is missing. A test holds it against Grafana's own, where its packages are installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support import renderer

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Shown:
    """What a stat panel shows.

    Attributes:
        value: the number, before its unit; ``None`` where the panel shows a text for what is missing.
        color: name of the colour of its threshold.
    """

    value: float | None
    color: str


def stats(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the stat panels of a dashboard."""
    return [panel for panel in board["panels"] if panel["type"] == "stat"]


def shown(panel: dict[str, Any], values: Sequence[float]) -> Shown:
    """Return what a stat panel shows for the values of the series that its query gave; it is made for one."""
    assert len(values) <= 1, panel["title"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    if not values or math.isnan(values[0]):
        return Shown(None, _missing(panel))
    return Shown(
        values[0], [step["color"] for step in steps if step["value"] is None or step["value"] <= values[0]][-1]
    )


def _missing(panel: dict[str, Any]) -> str:
    """Return the colour of the mapping of ``null`` and ``NaN``; without a series, Grafana takes the first step's."""
    defaults = panel["fieldConfig"]["defaults"]
    (mapped,) = (one["options"]["result"]["color"] for one in defaults["mappings"])
    assert mapped == defaults["thresholds"]["steps"][0]["color"], panel["title"]
    return str(mapped)


def agree(asked: Sequence[tuple[dict[str, Any], Sequence[float]]]) -> None:
    """Hold this implementation against Grafana's own, which must be installed."""
    given = [(panel, {"A": [{"metric": {}, "value": [60, str(one)]} for one in values]}) for panel, values in asked]
    for (panel, values), told in zip(asked, renderer.told(given), strict=True):
        mine = shown(panel, values)
        assert told["color"] == mine.color, (panel["title"], values, told)
        assert (told["text"] == panel["fieldConfig"]["defaults"]["noValue"]) is (mine.value is None), (
            panel["title"],
            told,
        )
