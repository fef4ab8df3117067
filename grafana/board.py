"""Board: a dashboard of rows of panels, laid out and linked, as Grafana's JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from grafana.panels import DATASOURCE, Panel, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNBOOK_UID = "nearhit-runbook"

COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, from left to right."""

    title: str
    panels: tuple[Panel, ...]

    def fitted(self) -> list[Panel]:
        """Return the panels in widths that leave no hole: four in one line, or the last one over a whole line."""
        thirds = all(panel.width == COLUMNS // 3 for panel in self.panels)
        if not thirds or len(self.panels) % 3 != 1:
            return list(self.panels)
        if len(self.panels) == 4:
            return [replace(panel, width=COLUMNS // 4) for panel in self.panels]
        return [*self.panels[:-1], replace(self.panels[-1], width=COLUMNS)]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    Attributes:
        uid: part of its address.
        title: heading.
        description: what it answers.
        instances: the series whose instances its ``instance`` variable offers.
        rows: from top to bottom.
    """

    uid: str
    title: str
    description: str
    instances: str
    rows: tuple[Row, ...]

    def panels(self) -> list[Panel]:
        """Return all panels, in the order of reading."""
        return [panel for row in self.rows for panel in row.panels]

    def to_json(self, sections: Mapping[str, int]) -> dict[str, Any]:
        """Return the dashboard as Grafana reads it.

        Args:
            sections: numbers of the runbook's panels by their anchors.
        """
        source = {
            "name": "datasource",
            "type": "datasource",
            "label": "Data source",
            "query": "prometheus",
            "current": {},
        }
        instances = f'label_values({self.instances}{{namespace=~"$namespace"}}, instance)'
        choices = (
            _choice("namespace", "Namespace", "label_values(nearhit_info, namespace)"),
            _choice("instance", "Instance", instances),
        )
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["nearhit"],
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": [_ALERTS]},
            "links": _LINKS,
            "templating": {"list": [source, *choices]},
            "panels": self.laid_out(sections),
        }

    def laid_out(self, sections: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return headings and panels with their places, as Grafana's JSON."""
        made: list[dict[str, Any]] = []
        y = 0
        for row in self.rows:
            heading = {"id": len(made) + 1, "type": "row", "title": row.title, "collapsed": False}
            made.append({**heading, "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": []})
            y, x, tallest = y + 1, 0, 0
            for panel in row.fitted():
                if x + panel.width > COLUMNS:
                    x, y, tallest = 0, y + tallest, 0
                url = f"/d/{RUNBOOK_UID}?viewPanel={sections[panel.runbook]}" if panel.runbook else ""
                made.append(to_json(panel, (x, y), len(made) + 1, url))
                x, tallest = x + panel.width, max(tallest, panel.height)
            y += tallest
        return made


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


_ALERTS = {
    "name": "Alerts",
    "datasource": DATASOURCE,
    "enable": True,
    "expr": 'ALERTS{alertname=~"Nearhit.*",alertstate="firing"}',
    "titleFormat": "{{alertname}}",
    "iconColor": "red",
}
"""Marks on every graph when an alert fired."""

_LINKS = [
    {
        "type": "dashboards",
        "title": "Nearhit",
        "tags": ["nearhit"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
    },
    {"type": "link", "title": "Runbook", "url": f"/d/{RUNBOOK_UID}", "icon": "doc", "targetBlank": True},
]
"""Links on top of every board: to the others, and to the runbook."""
