"""Panels: the few kinds of panel that the dashboards are made of, as Grafana's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, ORANGE, RED, BLUE = "green", "yellow", "orange", "red", "blue"
UNKNOWN = "#8e8e8e"
"""Colour of a value that is not known: grey neither praises nor warns."""

FIRING = 'ALERTS{alertname=~"Nearhit.*",alertstate="firing",namespace=~"|$namespace"}'

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

    def to_json(self, letter: str) -> dict[str, Any]:
        """Return the query as Grafana's JSON, under ``letter``."""
        return {
            "refId": letter,
            "datasource": DATASOURCE,
            "expr": self.expr,
            "legendFormat": self.legend,
            "format": self.kind,
            "instant": self.instant,
            "range": not self.instant,
            "editorMode": "code",
        }


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
        least: lower end of the axis.
        most: upper end of the axis.
        empty: what is shown where there is no value.
        missing: colour of that.
        runbook: anchor in docs/operations.md.
        dashed: legends drawn as a dashed red line, for thresholds that are series.
        zeros: series that are 0 all the time stay in the legend: there, 0 is what one wants to know.
        columns: labels that a table shows, from left to right.
        states: names of the columns to the right of them: the values, 0 or 1, of its second and further queries.
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
    least: float | None = None
    most: float | None = None
    empty: str = "No data"
    missing: str = UNKNOWN
    runbook: str = ""
    dashed: tuple[str, ...] = ()
    zeros: bool = False
    columns: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def defaults(self) -> dict[str, Any]:
        """Return how its values are shown."""
        defaults: dict[str, Any] = {"unit": self.unit, "color": {"mode": "palette-classic"}, "mappings": []}
        if self.type != "heatmap":
            steps = self.steps or ((None, BLUE),)
            defaults["thresholds"] = {
                "mode": "absolute",
                "steps": [{"value": at, "color": color} for at, color in steps],
            }
        if self.type == "stat":
            defaults["color"] = {"mode": "thresholds"}
            defaults["noValue"] = self.empty
            defaults["mappings"] = [
                {
                    "type": "special",
                    "options": {"match": "null+nan", "result": {"text": self.empty, "color": self.missing}},
                }
            ]
        if self.type == "table":
            defaults["noValue"] = self.empty
            defaults["mappings"] = _BLANK
        if self.type == "timeseries":
            defaults["min"] = 0 if self.least is None else self.least
            defaults["custom"] = {
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": 30 if self.stacked else 8,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "line" if self.steps else "off"},
            }
        if self.most is not None:
            defaults["max"] = self.most
        return defaults

    def transformations(self) -> list[dict[str, Any]]:
        """Return how the answers become one table: joined by their common labels, in the order of the columns."""
        values = [f"Value #{letter}" for letter, _ in zip("BCDEFGH", self.states, strict=False)]
        shown = [*self.columns, *values]
        options = {
            "includeByName": dict.fromkeys(shown, True),
            "indexByName": {name: number for number, name in enumerate(shown)},
            "renameByName": dict(zip(values, self.states, strict=True)),
        }
        return [{"id": "merge", "options": {}}, {"id": "organize", "options": {"excludeByName": {}, **options}}]


def stat(title: str, description: str, expr: str, **more: Any) -> Panel:
    """Return a single number as it is now, with the colour of its threshold.

    It asks for one instant: over a range, Grafana shows the last value that there was, and keeps showing it long after
    whatever reported it is gone. Thresholds begin at 0: below is the colour ``missing``, which a value has that
    is not there or ``NaN``.
    """
    steps = ((None, more.get("missing", UNKNOWN)), *more.pop("steps", ((0, BLUE),)))
    query = Query(expr, instant=True)
    return Panel("stat", title, description, (query,), steps=steps, **{"width": 4, "height": 4, **more})


def firing(**more: Any) -> Panel:
    """Return the table of Nearhit's alerts that fire now; those about servers have no namespace."""
    columns = ("alertname", "severity", "namespace", "instance", "job", "lane", "part", "reason")
    return table(
        "Firing alerts",
        "Nearhit's alerts that fire now. Each has a section in the runbook. Alerts about servers and about "
        "all workers belong to every namespace.",
        f"max by ({', '.join(columns)}) ({FIRING})",
        empty="No alert fires",
        columns=columns,
        **{"width": 24, "height": 4, **more},
    )


def known(expr: str) -> str:
    """Return the expression of those series whose value is known: a gauge that cannot see its state is ``NaN``."""
    return f"({expr} >= 0)"


def lines(title: str, description: str, *queries: Query, **more: Any) -> Panel:
    """Return a graph of lines over time."""
    return Panel("timeseries", title, description, queries, **more)


def heatmap(title: str, description: str, expr: str, **more: Any) -> Panel:
    """Return a heatmap of a histogram's buckets over time."""
    query = Query(expr, "{{le}}", kind="heatmap")
    return Panel("heatmap", title, description, (query,), **more)


def table(title: str, description: str, *exprs: str, **more: Any) -> Panel:
    """Return a table with a row for each set of labels, and a column of values for each expression."""
    queries = tuple(Query(expr, instant=True, kind="table") for expr in exprs)
    return Panel("table", title, description, queries, unit="string", **more)


def to_json(panel: Panel, at: tuple[int, int], number: int, runbook_url: str = "") -> dict[str, Any]:
    """Return a panel as Grafana's JSON, at column and row ``at``."""
    overrides = [_dashed(legend) for legend in panel.dashed]
    if panel.type == "timeseries" and not panel.zeros:
        overrides.append(_ZEROS)
    if panel.type == "table":
        overrides += [_state(name) for name in panel.states]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.type,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": at[0], "y": at[1], "w": panel.width, "h": panel.height},
        "targets": [query.to_json(letter) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)],
        "fieldConfig": {"defaults": panel.defaults(), "overrides": overrides},
        "options": _OPTIONS[panel.type],
    }
    if runbook_url:
        made["links"] = [{"title": "What to do", "url": runbook_url, "targetBlank": True}]
    if panel.type == "table":
        made["transformations"] = panel.transformations()
    return made


def _state(column: str) -> dict[str, Any]:
    options = {"0": {"text": "no", "color": RED}, "1": {"text": "yes", "color": GREEN}}
    return {
        "matcher": {"id": "byName", "options": column},
        "properties": [
            {"id": "mappings", "value": [{"type": "value", "options": options}, *_BLANK]},
            {"id": "custom.cellOptions", "value": {"type": "color-text"}},
            {"id": "custom.width", "value": 80},  # of its own a column takes 150, and the last one is out of sight
        ],
    }


_BLANK = [{"type": "special", "options": {"match": match, "result": {"text": ""}}} for match in ("null+nan", "empty")]
"""Shows a cell without a value as blank: Grafana would put the text there that is meant for a table without rows."""

_ZEROS = {
    "matcher": {"id": "byValue", "options": {"reducer": "allIsZero", "op": "gte", "value": 0}},
    "properties": [{"id": "custom.hideFrom", "value": {"legend": True, "tooltip": True, "viz": False}}],
}
"""Series that are 0 all the time are left out of the legend: of forty reasons, those are named that happened."""


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
        "graphMode": "none",
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
