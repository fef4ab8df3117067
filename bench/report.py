"""Report: the lines of a run as docs/benchmarks.json and docs/benchmarks.md; nothing in either is typed by hand."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit_worker.stack import server_program

from bench.measure import Line
from bench.tried import TRIED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

PARTS = ("lookups", "seed", "concurrency", "embedding", "fills", "load", "distance", "growth")
"""The parts of the bench, in the order of the page."""

PACKAGES = ("nearhit", "redis", "hiredis", "numpy", "celery", "kombu", "litellm", "msgspec", "prometheus-client")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the bench.

    Attributes:
        command: what was called.
        module: the search module; empty where there was none.
        started: when.
        seconds: how long it took.
    """

    command: str
    module: str
    started: datetime
    seconds: float

    def __str__(self) -> str:
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end"
        return f"{self.started:%Y-%m-%d %H:%M} UTC, {self.seconds / 60:.1f} minutes, {load}: `{self.command}`"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the report, with its part of the bench and the run that measured it, in words."""

    part: str
    run: str
    line: Line


def write(folder: Path, measured: Mapping[str, Sequence[Line]], run: Run) -> None:
    """Write both files into ``folder``; parts that were not measured now stay as an earlier run left them there.

    Args:
        folder: where.
        measured: lines by part.
        run: which run it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "benchmarks.json"
    rows = [row for row in _read_rows(file) if row.part not in measured]
    rows += [Row(part, str(run), line) for part, lines in measured.items() for line in lines]
    rows.sort(key=lambda row: PARTS.index(row.part))
    flat = [{**row.line.row(), "part": row.part, "run": row.run} for row in rows]
    file.write_text(json.dumps(flat, indent=1, ensure_ascii=False) + "\n")
    (folder / "benchmarks.md").write_text(page(rows, run))


def _read_rows(file: Path) -> list[Row]:
    rows = json.loads(_read(str(file)) or "[]")
    names = [field.name for field in fields(Line)]
    known = [row for row in rows if row.get("part") in PARTS]
    return [Row(row["part"], row["run"], Line(**{name: row[name] for name in names})) for row in known]


def page(rows: Sequence[Row], run: Run) -> str:
    """Return the page of these rows, the latest of which come from ``run``."""
    promised = [row for row in rows if row.line.met is not None]
    missed = [row for row in promised if not row.line.met]
    parts = [
        "# Benchmarks",
        "This page is written by the program that measured. Every ratio is of two things timed in turns in one run, so "
        "that whatever else the machine did fell on both alike. *Raw* is redis-py's own `execute_command` on a client "
        "of its own with its defaults.",
        _machine(run),
        f"{len(promised) - len(missed)} of {len(promised)} goals are met.",
    ]
    for part in dict.fromkeys(row.part for row in rows):
        own = [row for row in rows if row.part == part]
        parts += [f"## {part.capitalize()}", own[0].run]
        parts += ["\n".join([_HEAD, "|---|---|---|---|---|", *(_table_row(row.line) for row in own)])]
    if missed:
        parts += ["## Missed", "\n".join(map(_missed, missed))]
    parts += ["## What was tried", "\n".join(f"- {one}" for one in TRIED)]
    return "\n\n".join(parts) + "\n"


_REASONS = (
    (r"^not measured", "It was not measured: {note}."),
    (
        r"an HSET here indexes nothing",
        "A fill is published, read, decoded, leased, written, announced and acknowledged: ten commands and two "
        "processes for one HSET, which costs next to nothing where no graph is built. {note}.",
    ),
    (r"a bare FT\.SEARCH", "The server's own search is the same on both sides and most of what either takes: {note}."),
    (r"", "{note}."),
)


def why(line: Line) -> str:
    """Return why a goal was missed, as far as the line tells."""
    for pattern, text in _REASONS:
        if re.search(pattern, line.note):
            return text.format(note=line.note.removeprefix("not measured: "))
    return ""


def _missed(row: Row) -> str:
    line = row.line
    return f"- {line.name}: {_figure(line)}, goal {line.goal}. {why(line)} ({row.run.partition(' UTC')[0]})"


_HEAD = "| what | figure | goal | met | behind it |"


def _table_row(line: Line) -> str:
    met = {True: "yes", False: "**no**", None: ""}[line.met]
    return f"| {line.name} | {_figure(line)} | {line.goal} | {met} | {line.note} |"


def _figure(line: Line) -> str:
    if line.value is None:
        return "–"
    digits = 0 if line.value >= 100 else 3 if line.value < 10 else 1
    return f"{line.value:,.{digits}f}" + ("x" if line.unit == "ratio" else f" {line.unit}")


def _machine(run: Run) -> str:
    facts = [
        f"latest run: {run}",
        f"machine: {_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, {platform.system()} "
        f"{platform.release()}",
        f"server: {_server()}; search module: {'loaded' if run.module else 'none'}",
        f"Python {platform.python_version()}; " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def available_gib() -> float:
    """Return how much memory is free to take; 0 where the system does not say."""
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20
    return 0.0


def _server() -> str:
    done = subprocess.run([server_program(), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"v=(\S+)", done.stdout)
    return f"valkey-server {found[1]}" if found else "valkey-server"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def command() -> str:
    """Return the command line without paths of this machine."""
    words = ["python", "-m", "bench", *sys.argv[1:]]
    return " ".join(Path(word).name if "/" in word else word for word in words)
