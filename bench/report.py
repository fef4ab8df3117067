"""Report: the lines of a run as docs/benchmarks.json and docs/benchmarks.md; nothing in either is typed by hand."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from bench.tried import TRIED
from worker.stack import server_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from bench.measure import Line

PACKAGES = ("nearhit", "redis", "hiredis", "numpy", "celery", "kombu", "litellm", "msgpack", "prometheus-client")


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


def write(folder: Path, lines: Sequence[Line], run: Run) -> None:
    """Write both files into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [line.row() for line in lines]
    (folder / "benchmarks.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    (folder / "benchmarks.md").write_text(page(lines, run))


def page(lines: Sequence[Line], run: Run) -> str:
    """Return the page of a run."""
    promised = [line for line in lines if line.met is not None]
    missed = [line for line in promised if not line.met]
    parts = [
        "# Benchmarks",
        "This page is written by the program that measured. Every ratio is of two things timed in turns in one run, so "
        "that whatever else the machine did fell on both alike. *Raw* is redis-py's own `execute_command` on a client "
        "of its own with its defaults.",
        _machine(run),
        f"{len(promised) - len(missed)} of {len(promised)} goals are met.",
        "\n".join(["| what | figure | goal | met | behind it |", "|---|---|---|---|---|", *map(_row, lines)]),
    ]
    if missed:
        parts += [
            "## Missed",
            "\n".join(f"- {line.name}: {_figure(line)}, goal {line.goal}. {why(line)}" for line in missed),
        ]
    parts += ["## What was tried", "\n".join(f"- {one}" for one in TRIED)]
    return "\n\n".join(parts) + "\n"


_REASONS = (
    (r"^not measured", "It was not measured: {note}."),
    (
        r"an HSET here indexes nothing",
        "A fill is published, read, decoded, leased, written, announced and acknowledged: ten commands and two "
        "processes for one HSET, which costs next to nothing where no graph is built. {note}.",
    ),
    (r"", "Measured with a load of {load:.1f} on {cores} cores: {note}."),
)


def why(line: Line) -> str:
    """Return why a goal was missed, as far as the line and the machine tell."""
    for pattern, text in _REASONS:
        if re.search(pattern, line.note):
            note = line.note.removeprefix("not measured: ")
            return text.format(note=note, load=os.getloadavg()[0], cores=os.cpu_count())
    return ""


def _row(line: Line) -> str:
    met = {True: "yes", False: "**no**", None: ""}[line.met]
    return f"| {line.name} | {_figure(line)} | {line.goal} | {met} | {line.note} |"


def _figure(line: Line) -> str:
    if line.value is None:
        return "–"
    digits = 0 if line.value >= 100 else 3 if line.value < 10 else 1
    return f"{line.value:,.{digits}f}" + ("x" if line.unit == "ratio" else f" {line.unit}")


def _machine(run: Run) -> str:
    facts = [
        f"date: {run.started:%Y-%m-%d %H:%M} UTC, {run.seconds / 60:.1f} minutes",
        f"command: `{run.command}`",
        f"machine: {_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, {platform.system()} "
        f"{platform.release()}; load {os.getloadavg()[0]:.1f} at the end",
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
