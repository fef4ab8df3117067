"""Build: writes the dashboards' JSON; ``python -m grafana.build``. A test compares what is committed with it."""

from __future__ import annotations

import json
from pathlib import Path

from grafana import index_health, overview, replicas, runbook, write_behind

BOARDS = (overview.BOARD, write_behind.BOARD, index_health.BOARD, replicas.BOARD)
FOLDER = Path(__file__).parent / "dashboards"
OPERATIONS = Path(__file__).parents[1] / "docs" / "operations.md"


def files() -> dict[Path, str]:
    """Return the text of every dashboard by the path where it belongs."""
    sections = runbook.sections(OPERATIONS.read_text())
    numbers = {section.anchor: section.number for section in sections}
    boards = {board.uid: board.to_json(numbers) for board in BOARDS}
    boards[runbook.UID] = runbook.to_json(sections)
    return {FOLDER / f"{uid}.json": json.dumps(made, indent=1) + "\n" for uid, made in boards.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
