"""Runs the matrix of what is killed and stopped, cell by cell, and writes its tables into docs/write-path.md.

Run: python -m bench.chaos [--events 45] [--cell tls cluster] [--resume]. Each cell's result goes to docs/chaos.json as
soon as it is there, and the tables are written from that file: cells may be run one by one and on several days.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.tables import DOCS, markdown, put, where
from tests.chaos.cells import CELLS
from tests.chaos.events import EVENTS
from tests.chaos.matrix import CALLERS, FACES, OF_EACH, PER_SECOND, run_cell
from tests.chaos.stack import CLAIM_IDLE_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.cells import Cell

FILE = DOCS / "chaos.json"
_HOUR = 3600.0


def main() -> int:
    """Run the cells that were asked for; return 1 when a fill was lost that its server cannot have held back."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--events", type=int, default=45, help="events in each cell; 45 makes 450 in all")
    parser.add_argument("--cell", nargs="+", choices=[cell.name for cell in CELLS], help="cells to run; all without it")
    parser.add_argument("--resume", action="store_true", help="leave out cells that had as many events within a day")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the order of events")
    asked = parser.parse_args()
    module = os.environ.get("NEARHIT_TEST_SEARCH_MODULE", "")
    good = True
    for cell in CELLS:
        if asked.cell and cell.name not in asked.cell:
            continue
        if asked.resume and _is_there(cell, asked.events):
            continue
        if missing := cell.missing(module):
            print(f"{cell.name}: left out: {missing}", flush=True)
            continue
        good = _run(cell, asked, module) and good
    return 0 if good else 1


def _run(cell: Cell, asked: argparse.Namespace, module: str) -> bool:
    """Run a cell, keep its result, write the tables, and return whether every fill is accounted for."""
    print(f"{cell.name}: {asked.events} events, seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        result = run_cell(cell, Path(folder), asked.events, asked.seed, module)
    row = {**result.row(), "seed": asked.seed, "when": datetime.now(UTC).isoformat(timespec="minutes")}
    counts = {name: value for name, value in row.items() if name != "recovered"}
    print(json.dumps(counts), flush=True)
    kept = {**_kept(), cell.name: row}
    FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    put("write-path.md", "chaos", tables(kept))
    unexplained = result.lost - result.held_back
    return not (unexplained or result.lost_spooled or result.twice or result.other or result.not_found)


def _kept() -> dict[str, dict[str, Any]]:
    kept: dict[str, dict[str, Any]] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return kept


def _is_there(cell: Cell, events: int) -> bool:
    row = _kept().get(cell.name)
    if row is None or row["events"] < events:
        return False
    return (datetime.now(UTC) - datetime.fromisoformat(row["when"])).total_seconds() < 24 * _HOUR


def tables(kept: dict[str, dict[str, Any]]) -> str:
    """Return what the page says: a row for each cell, a row for each kind of event, and how it was measured."""
    rows = [kept[cell.name] for cell in CELLS if cell.name in kept]
    return "\n\n".join((_by_cell(kept), _sentence(rows), _by_event(rows), _how(rows)))


def _by_cell(kept: dict[str, dict[str, Any]]) -> str:
    head: tuple[str, ...] = ("cell", "durability, appendfsync", "events", "fills", "accepted", "spooled")
    head += ("accepted and lost", "spooled and lost", "twice", "dead letters")
    rows: list[Sequence[object]] = []
    for cell in CELLS:
        row = kept.get(cell.name)
        what = (str(cell), f"{cell.durability}, {cell.appendfsync}")
        if row is None:
            rows.append((*what, "not run", *[""] * 7))
            continue
        counts = ("events", "fills", "accepted", "spooled", "lost", "lost_spooled", "twice", "dead")
        rows.append((*what, *(f"{row[name]:,}" for name in counts)))
    return markdown(head, rows)


def _sentence(rows: Sequence[dict[str, Any]]) -> str:
    lost, held_back = (sum(row[name] for row in rows) for name in ("lost", "held_back"))
    accepted, events = (sum(row[name] for row in rows) for name in ("accepted", "events"))
    text = f"{events:,} events, {accepted:,} accepted fills, {lost:,} of them lost"
    if lost:
        text += f", {held_back:,} of those in the last seconds before a log server was killed that syncs every second"
    return text + "."


def _by_event(rows: Sequence[dict[str, Any]]) -> str:
    seen: list[Sequence[object]] = []
    for event in EVENTS:
        times = sorted(seconds for row in rows for seconds in row["recovered"].get(str(event), []))
        if times:
            seen.append((str(event), len(times), f"{statistics.median(times):.1f} s", f"{times[-1]:.1f} s"))
    return markdown(("what, how", "events", "stored after, p50", "longest"), seen)


def _how(rows: Sequence[dict[str, Any]]) -> str:
    processes = len(FACES) * OF_EACH
    first, last = (edge(row["when"][:10] for row in rows) for edge in (min, max))
    minutes = sum(row["seconds"] for row in rows) / 60
    return (
        f"{where()} Runs of {first} to {last}, {minutes:.0f} minutes. {processes} processes fill, half of them with "
        f"threads and half with asyncio, {CALLERS} callers and {PER_SECOND:g} fills/s each; two workers, "
        f"`claim_idle_ms` {CLAIM_IDLE_MS:,} (15,000 by default: add 13 s). A killed server comes back within a "
        "second, a stopped process goes on within three. *Accepted and lost*: the newest answer that was told "
        "`accepted` is not stored in the end. *Stored after*: from the event, its own time included, until all that "
        "the log had when it was over is searchable."
    )


if __name__ == "__main__":
    raise SystemExit(main())
