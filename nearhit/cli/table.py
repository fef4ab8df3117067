"""Table: every command, with the module that runs it and the line that the overview shows.

A new command is a module in this package and one line here. The module offers three things:

- ``DESCRIPTION``: text of its ``--help``, and ``EXAMPLES``: what to type, one line each;
- ``add_arguments(parser)``: declares what it takes; shared options come from ``nearhit.cli.options``;
- ``run(arguments, screen) -> int``: does it, shows results with ``screen``, returns one of ``nearhit.cli.exits``.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen


class CommandModule(Protocol):
    """What the module of a command offers."""

    DESCRIPTION: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what the command takes."""

    def run(self, arguments: argparse.Namespace, screen: Screen) -> int:
        """Run the command and return its exit code."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as the overview shows it.

    Attributes:
        name: what is typed.
        summary: one line of the overview.
        group: heading under which it is shown.
        module: name of its module in this package; empty when it is the command's own.
    """

    name: str
    summary: str
    group: str
    module: str = ""

    def load(self) -> CommandModule:
        """Import the command's module: only the one that is run is ever imported."""
        return cast("CommandModule", importlib.import_module(f"nearhit.cli.{self.module or self.name}"))


START, USE, LOOK, KEEP = "Start", "Use", "Look", "Keep"

COMMANDS = (
    Command("up", "Run a whole stack in the foreground; Ctrl-C stops all of it.", START),
    Command("demo", "Fill a cache through the queue, ask it, and see what it answers.", START),
    Command("worker", "Run one worker for the configured servers.", START),
    Command("lookup", "Ask a question: hit or miss, and why.", USE),
    Command("fill", "Put answers onto the queue.", USE),
    Command("load", "Fill a cache from JSONL, CSV or Parquet files.", USE),
    Command("stats", "Show entries, index, fill log and workers, as the servers see them.", LOOK),
    Command("watch", "Show queues, rates, lags and hit rate as they change.", LOOK),
    Command("dead", "List, show, replay or drop fills that were given up.", LOOK),
    Command("doctor", "Check every part, and say what to do about it.", LOOK),
    Command("evaluate", "Measure hits and false hits on labelled pairs or a stream.", LOOK),
    Command("calibrate", "Find the threshold for a budget of false hits.", LOOK),
    Command("verify", "Show how many hits were found wrong when the model was asked again.", LOOK),
    Command("explain", "Show what the guard thinks of two texts.", LOOK),
    Command("threshold", "Show the thresholds in force, and change them while processes run.", KEEP),
    Command("invalidate", "Remove entries before their time: by question, scope, tenant, age.", KEEP),
    Command("reindex", "Take the entries of another embedding model over.", KEEP),
    Command("export", "Write what is cached, so that load reads it again.", KEEP),
    Command("model", "Install or check the local embedding model.", KEEP),
)


def find(name: str) -> Command | None:
    """Return the command of that name."""
    return next((one for one in COMMANDS if one.name == name), None)
