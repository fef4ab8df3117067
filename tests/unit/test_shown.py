"""What stat panels show, and legends name, by this repository's own reckoning and by Grafana's."""

from __future__ import annotations

import math
from typing import Any

import pytest

from grafana.panels import GREEN
from tests.support import observability as seen
from tests.support import renderer
from tests.support.shown import agree, shown, stats

STATS = [panel for board in seen.boards() for panel in stats(board)]
VALUES = (0.0, 1e-9, 0.05, 0.5, 1.0, 2.0, 10.0, 60.0, 100.0, 1e5, 1e9)


@pytest.fixture
def grafana() -> None:
    """Grafana's packages, or no test."""
    if not renderer.installed():
        pytest.skip("no renderer: make renderer installs Grafana's packages")


def titled(title: str) -> dict[str, Any]:
    (panel,) = [panel for board in seen.boards() for panel in seen.panels(board) if panel["title"] == title]
    return panel


@pytest.mark.parametrize("panel", STATS, ids=lambda panel: panel["title"])
@pytest.mark.parametrize("values", [[], [math.nan]], ids=["nothing", "NaN"])
def test_a_stat_asks_for_this_moment_and_is_not_green_where_nothing_reports(
    panel: dict[str, Any], values: list[float]
) -> None:
    (target,) = panel["targets"]
    assert target["instant"]
    assert shown(panel, values).value is None
    assert shown(panel, values).color != GREEN


def test_grafana_shows_stats_as_these_tests_reckon(grafana: None) -> None:
    agree([(panel, values) for panel in STATS for values in ([], [math.nan], *([one] for one in VALUES))])


def test_series_that_are_never_more_than_zero_are_not_in_the_legend(grafana: None) -> None:
    panel = titled("Dead letters by reason")
    found = [
        {"metric": {"reason": reason}, "values": [[0, "0"], [30, last], [60, "0"]]}
        for reason, last in (("poison", "0"), ("expired", "3"), ("refused", "NaN"))
    ]
    assert renderer.told([(panel, {"A": found})]) == [["expired"]]


def test_processes_are_listed_with_version_and_readiness(grafana: None) -> None:
    worker = {"instance": "a:1", "namespace": "shop"}
    about = {"model": "local/minilm", "engine": "auto", "version": "1.2"}
    found = {
        "A": [
            {"metric": {**worker, **about, "role": "worker"}, "value": [60, "1"]},
            {"metric": {"instance": "b:2", "namespace": "shop", **about, "role": "client"}, "value": [60, "1"]},
        ],
        "B": [{"metric": worker, "value": [60, "1"]}],
        "C": [{"metric": worker, "value": [60, "0"]}],
    }
    assert renderer.told([(titled("Processes"), found)]) == [
        [
            ["instance", "a:1", "b:2"],
            ["namespace", "shop", "shop"],
            ["role", "worker", "client"],
            ["version", "1.2", "1.2"],
            ["model", "local/minilm", "local/minilm"],
            ["engine", "auto", "auto"],
            ["live", "yes", ""],
            ["ready", "no", ""],
        ]
    ]


def test_alerts_that_fire_are_listed(grafana: None) -> None:
    board = next(one for one in seen.boards() if one["uid"] == "nearhit-overview")
    panel = next(one for one in seen.panels(board) if one["title"] == "Firing alerts")
    found = [
        {"metric": {"alertname": "NearhitNoWorkers", "severity": "critical"}, "value": [60, "1"]},
        {"metric": {"alertname": "NearhitWriteLag", "severity": "warning", "namespace": "shop"}, "value": [60, "1"]},
    ]
    assert renderer.told([(panel, {"A": found}), (panel, {"A": []})]) == [
        [
            ["alertname", "NearhitNoWorkers", "NearhitWriteLag"],
            ["severity", "critical", "warning"],
            ["namespace", "", "shop"],
        ],
        [],
    ]
