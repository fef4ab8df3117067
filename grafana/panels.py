"""Panels: the few kinds of panel that the dashboards are made of, as Grafana's JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"

Steps = tuple[tuple[float | None, str], ...]


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the legend of what it gives.

    Attributes:
        expr: PromQL, with the dashboard's variables.
        legend: name of each series, with labels in double braces.
        instant: ask for the last value alone.
        kind: ``time_series``, ``heatmap`` or ``table``.
    """

    expr: str
    legend: str = "__auto"
    instant: bool = False
    kind: str = "time_series"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        type: Grafana's name of the kind of panel.
        title: heading.
        description: what it shows, and what to do about it.
        queries: what it asks.
        unit: Grafana's name of the unit.
        steps: thresholds, the first from ``None``; empty for none.
        width: of 24 columns.
        height: in rows of 30 pixels.
        stacked: lines lie on one another.
        most: upper end of the axis.
        mappings: names of values, for states.
        runbook: anchor in docs/operations.md.
        dashed: legends drawn as a dashed red line, for thresholds that are series.
    """

    type: str
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    steps: Steps = ()
    width: int = 8
    height: int = 8
    stacked: bool = False
    most: float | None = None
    mappings: dict[str, tuple[str, str]] = field(default_factory=dict)
    runbook: str = ""
    dashed: tuple[str, ...] = ()


def stat(title: str, description: str, expr: str, **more: Any) -> Panel:
    """Return a single number with the colour of its threshold."""
    return Panel("stat", title, description, (Query(expr),), **{"width": 4, "height": 4, **more})


def lines(title: str, description: str, *queries: Query, **more: Any) -> Panel:
    """Return a graph of lines over time."""
    return Panel("timeseries", title, description, queries, **more)


def heatmap(title: str, description: str, expr: str, **more: Any) -> Panel:
    """Return a heatmap of a histogram's buckets over time."""
    query = Query(expr, "{{le}}", kind="heatmap")
    return Panel("heatmap", title, description, (query,), **more)


def table(title: str, description: str, expr: str, **more: Any) -> Panel:
    """Return a table with a row for each series."""
    return Panel("table", title, description, (Query(expr, instant=True, kind="table"),), **more)


def to_json(panel: Panel, at: tuple[int, int], number: int, runbook_url: str = "") -> dict[str, Any]:
    """Return a panel as Grafana's JSON, at column and row ``at``."""
    made: dict[str, Any] = {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": at[0], "y": at[1], "w": panel.width, "h": panel.height},
        "targets": [_target(query, letter) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": [_dashed(legend) for legend in panel.dashed]},
        "options": _OPTIONS[panel.type],
    }
    if runbook_url:
        made["links"] = [{"title": "What to do", "url": runbook_url, "targetBlank": True}]
    if panel.type == "table":
        made["transformations"] = [
            {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True, "__name__": True}}}
        ]
    return made


def _target(query: Query, letter: str) -> dict[str, Any]:
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": query.kind,
        "instant": query.instant,
        "range": not query.instant,
        "editorMode": "code",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "color": {"mode": "palette-classic"}, "mappings": []}
    if panel.type != "heatmap":
        steps = panel.steps or ((None, BLUE),)
        defaults["thresholds"] = {"mode": "absolute", "steps": [{"value": at, "color": color} for at, color in steps]}
    if panel.type == "stat":
        defaults["color"] = {"mode": "thresholds"}
    if panel.type == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.mappings:
        options = {value: {"text": text, "color": color} for value, (text, color) in panel.mappings.items()}
        defaults["mappings"] = [{"type": "value", "options": options}]
    return defaults


def _dashed(legend: str) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": legend},
        "properties": [
            {"id": "color", "value": {"mode": "fixed", "fixedColor": RED}},
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [10, 10]}},
            {"id": "custom.fillOpacity", "value": 0},
        ],
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "exponent": 0.5, "steps": 64, "reverse": False, "fill": "blue"},
        "yAxis": {"axisPlacement": "left", "reverse": False},
        "rowsFrame": {"layout": "le"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True},
        "filterValues": {"le": 1e-9},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
    },
    "table": {
        "showHeader": True,
        "cellHeight": "sm",
        "footer": {"show": False, "reducer": ["sum"], "countRows": False},
    },
}
