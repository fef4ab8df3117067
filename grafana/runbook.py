"""Runbook: the runbook of docs/operations.md as a dashboard, a panel a section, so that panels can link to theirs."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

from grafana.board import COLUMNS, RUNBOOK_UID

UID = RUNBOOK_UID
HEADING = "## Runbook"

_HEIGHT = 8


@dataclass(frozen=True, slots=True)
class Section:
    """What to do about one thing: its heading, the anchor of that, and the text below it, in Markdown."""

    title: str
    anchor: str
    text: str

    @property
    def number(self) -> int:
        """Id of its panel: links to it outlive sections that come before it."""
        return zlib.crc32(self.anchor.encode()) % 100_000

    def to_json(self, row: int) -> dict[str, Any]:
        """Return its panel as Grafana's JSON."""
        return {
            "id": self.number,
            "type": "text",
            "title": self.title,
            "description": f"docs/operations.md#{self.anchor}",
            "gridPos": {"x": 0, "y": row * _HEIGHT, "w": COLUMNS, "h": _HEIGHT},
            "options": {"mode": "markdown", "content": self.text},
        }


def sections(document: str) -> list[Section]:
    """Return the ``###`` sections below the heading of the runbook."""
    runbook = re.split(r"^## ", document.partition(f"\n{HEADING}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^### (.+)$", runbook, flags=re.MULTILINE)[1:]
    return [Section(title, anchor_of(title), text.strip()) for title, text in zip(parts[::2], parts[1::2], strict=True)]


def anchor_of(title: str) -> str:
    """Return the anchor that Markdown readers give a heading."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def to_json(found: list[Section]) -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    return {
        "uid": UID,
        "title": "Nearhit / Runbook",
        "description": "What to do about each alert; the text of docs/operations.md.",
        "tags": ["nearhit"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "time": {"from": "now-1h", "to": "now"},
        "links": [],
        "templating": {"list": []},
        "panels": [section.to_json(row) for row, section in enumerate(found)],
    }
