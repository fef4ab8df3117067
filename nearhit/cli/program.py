"""Program: from the words on the command line to a command, and from any failure to one line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import logging
import os
import sys
from typing import NoReturn

from nearhit.cli import exits, options
from nearhit.cli.screen import Screen
from nearhit.cli.table import COMMANDS, Command, find
from nearhit.errors import ConfigError, ContractError, NearhitError

_EXITS = "exit codes: 0 ok or hit · 1 miss, failed check · 2 usage, settings · 3 unavailable · 130 Ctrl-C"
_INTRO = "Nearhit: a write-behind semantic cache for LLM answers on Valkey."


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message} (see {self.prog} --help)\n")
        raise SystemExit(exits.USAGE)


def main(argv: list[str]) -> int:
    """Run the command that ``argv`` names and return its exit code; never lets an error through.

    Args:
        argv: the words after ``nearhit``.
    """
    debug = os.environ.get("NEARHIT_DEBUG", "") not in {"", "0"}
    _quiet_logs(debug=debug)
    try:
        return _dispatch(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else exits.OK
    except KeyboardInterrupt:
        sys.stderr.write("nearhit: interrupted\n")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # the reader went away, as `head` does; without this Python complains while it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except (NearhitError, OSError) as error:
        if debug:
            raise
        sys.stderr.write(f"nearhit: {_said(error)}\n")
        wrong_use = isinstance(error, ConfigError | ContractError | FileNotFoundError | IsADirectoryError)
        return exits.USAGE if wrong_use else exits.UNAVAILABLE


def _said(error: NearhitError | OSError) -> str:
    """Return what to say of an error: of one of the operating system's, the file comes first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _dispatch(argv: list[str]) -> int:
    if argv[:1] == ["help"]:
        argv = [*argv[1:2], "--help"]
    if not argv or argv[0] in {"-h", "--help"}:
        sys.stdout.write(_overview())
        return exits.OK if argv else exits.USAGE
    if argv[0] in {"-V", "--version"}:
        from importlib.metadata import version  # noqa: PLC0415 - asked for once in a life

        sys.stdout.write(f"nearhit {version('nearhit')}\n")
        return exits.OK
    command = find(argv[0])
    if command is None:
        raise ConfigError(_unknown(argv[0]))
    module = command.load()
    arguments = _parser(command).parse_args(argv[1:])
    return module.run(arguments, Screen(json_wanted=getattr(arguments, "json_wanted", False)))


def _parser(command: Command) -> argparse.ArgumentParser:
    module = command.load()
    parser = _Parser(
        prog=f"nearhit {command.name}",
        description=module.DESCRIPTION.strip(),
        epilog=f"examples:\n{_indented(module.EXAMPLES)}\n\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def _overview() -> str:
    lines = [_INTRO, "", "usage: nearhit COMMAND [options]", ""]
    width = max(len(one.name) for one in COMMANDS)
    for group in dict.fromkeys(one.group for one in COMMANDS):
        lines.append(f"{group}:")
        lines += [f"  {one.name:{width}}  {one.summary}" for one in COMMANDS if one.group == group]
        lines.append("")
    lines += [
        "nearhit COMMAND --help says more. Servers and model come from NEARHIT_URL, NEARHIT_MODEL and so on;",
        f"without NEARHIT_THRESHOLD the command line takes {options.DEFAULT_THRESHOLD} for {options.THRESHOLD_MODEL}.",
        "",
        _EXITS,
    ]
    return "\n".join(lines) + "\n"


def _unknown(name: str) -> str:
    if name.startswith("-"):
        return f"options come after the command: nearhit COMMAND {name} …"
    near = difflib.get_close_matches(name, [one.name for one in COMMANDS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "nearhit --help lists them"
    return f"there is no command {name!r}; {hint}"


def _quiet_logs(*, debug: bool) -> None:
    """Keep log lines off the terminal, where results and one line of error belong, unless they are wanted."""
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    else:
        logging.getLogger("nearhit").addHandler(logging.NullHandler())


def _indented(text: str) -> str:
    return "\n".join(f"  {line.strip()}" for line in text.strip().splitlines())
