"""Program: runs the command that the command line names, and turns failures into one line and an exit code."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from nearhit.cli import exits, options
from nearhit.cli.command import EXITS, complaint
from nearhit.cli.screen import Screen
from nearhit.errors import ConfigError, ContractError, NearhitError


@dataclass(frozen=True, slots=True)
class Command:
    """A command as the overview shows it. A new one is a module here with ``run``, see ``command``, and a line below.

    Attributes:
        name: what is typed, and the name of its module.
        summary: one line of the overview.
        group: heading under which it is shown.
    """

    name: str
    summary: str
    group: str


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


class _Nearhit(click.Group):
    """All commands; the module of a command is imported when that command is typed, and no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return [one.name for one in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Return the command of that name."""
        names = self.list_commands(ctx)
        if cmd_name in names:
            found: click.Command = importlib.import_module(f"nearhit.cli.{cmd_name}").run
            return found
        near = difflib.get_close_matches(cmd_name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "nearhit --help lists them"
        raise ConfigError(f"there is no command {cmd_name!r}; {hint}")

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Return the overview: every command with its line, by group."""
        width = max(len(one.name) for one in COMMANDS)
        groups = "\n".join(
            f"{group}:\n" + "".join(f"  {one.name:{width}}  {one.summary}\n" for one in COMMANDS if one.group == group)
            for group in dict.fromkeys(one.group for one in COMMANDS)
        )
        return (
            "Nearhit: a write-behind semantic cache for LLM answers on Valkey.\n\nusage: nearhit COMMAND [options]\n\n"
            f"{groups}\nnearhit COMMAND --help says more. Servers and model come from NEARHIT_URL, NEARHIT_MODEL and "
            f"so on;\nwithout NEARHIT_THRESHOLD the command line takes {options.DEFAULT_THRESHOLD} for "
            f"{options.THRESHOLD_MODEL}.\n\n{EXITS}"
        )


_NEARHIT = click.version_option(None, "-V", "--version", package_name="nearhit", message="nearhit %(version)s")(
    _Nearhit("nearhit", context_settings={"help_option_names": ["-h", "--help"]})
)


def main(argv: list[str]) -> int:
    """Run the command that ``argv`` names and return its exit code; never lets an error through.

    Args:
        argv: the words after ``nearhit``.
    """
    debug = os.environ.get("NEARHIT_DEBUG", "") not in {"", "0"}
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    else:  # log lines stay off the terminal, where results and one line of error belong
        logging.getLogger("nearhit").addHandler(logging.NullHandler())
    try:
        return run(argv, debug=debug)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else exits.OK
    except KeyboardInterrupt:
        sys.stderr.write("nearhit: interrupted\n")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # the reader went away, as `head` does; without this Python complains while it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK


def run(argv: list[str], *, debug: bool) -> int:
    """Run a command and return its exit code; what is wrong is one line, and with ``--json`` a document, too."""
    screen = Screen(json_wanted="--json" in argv[1:])
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    try:
        with _NEARHIT.make_context("nearhit", list(argv) or ["--help"]) as context:
            code: Any = _NEARHIT.invoke(context)
            return int(code or exits.OK)
    except click.exceptions.Exit as stop:  # after help or version
        return stop.exit_code if argv else exits.USAGE
    except click.ClickException as error:
        place = error.ctx if isinstance(error, click.UsageError) else None
        path = place.command_path if place is not None else "nearhit"
        text = f"{complaint(error)} (see {path} --help)"
        if isinstance(error, click.NoSuchOption) and path == "nearhit":
            text = f"options come after the command: nearhit COMMAND {error.option_name} …"
        screen.error(text, path)
        return exits.USAGE
    except BrokenPipeError:
        raise
    except (NearhitError, OSError) as error:
        if debug:
            raise
        text = str(error)
        if isinstance(error, OSError) and error.strerror:  # the file comes first
            text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        screen.error(text)
        wrong_use = isinstance(error, ConfigError | ContractError | FileNotFoundError | IsADirectoryError)
        return exits.USAGE if wrong_use else exits.UNAVAILABLE
