"""Tables: puts what a program measured between two marks of a document, so that no figure is typed by hand."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parents[1] / "docs"


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def put(document: str, mark: str, text: str) -> None:
    """Replace what stands between ``<!-- mark -->`` and ``<!-- /mark -->`` in a document of docs/."""
    path = DOCS / document
    whole = path.read_text()
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, found, rest = whole.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path.name} has no marks {start} and {end}")
    path.write_text(f"{before}{start}\n{text}\n{end}{after}")


def where() -> str:
    """Return one line about this machine and this day."""
    when = datetime.now(tz=UTC).strftime("%Y-%m")
    python = platform.python_version()
    return f"Measured {when} on {os.cpu_count()} shared cores, {platform.machine()}, Python {python}."
