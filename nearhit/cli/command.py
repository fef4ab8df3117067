"""Command: click's building blocks, with help in sections and one-line error messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click

from nearhit.cli.screen import Screen

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
EXITS = "exit codes: 0 ok or hit · 1 miss, failed check · 2 usage, settings · 3 unavailable · 130 Ctrl-C"
PATH = click.Path(path_type=Path)
SETTINGS_SECTION = "settings, each before its variable NEARHIT_…"


class Arguments(SimpleNamespace):
    """The values of a command's arguments and options, by name."""


class Number(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click alone
    """A number of some kind.

    Args:
        kind: ``float`` or ``int``.
    """

    def __init__(self, kind: type[float]) -> None:
        self.name = kind.__name__
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that ``value`` spells."""
        try:
            return self._kind(value)
        except ValueError:
            self.fail(f"invalid {self.name} value: {value!r}", param, ctx)


FLOAT, INT = Number(float), Number(int)


class Choice(click.Choice[str]):
    """One word out of a few."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ARG002 - click's signature
        """Return what to say of another word."""
        return f"invalid choice: {value!r} (choose from {', '.join(self.choices)})"


class _Argument(click.Argument):
    """An argument with a line of help, which older releases of click do not take."""

    def __init__(self, names: Sequence[str], help: str = "", **more: Any) -> None:  # noqa: A002 - click's name
        super().__init__(names, **more)
        self.about = help


class _Command(click.Command):
    """A command whose help shows arguments, options, settings and examples, each in a section of its own."""

    examples = ""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the line of usage."""
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), "usage: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of arguments, options and settings."""
        sections: dict[str, list[tuple[str, str]]] = {"arguments": [], "options": [], SETTINGS_SECTION: []}
        for one in self.get_params(ctx):
            if isinstance(one, _Argument):
                sections["arguments"].append((one.make_metavar(ctx), one.about))
            elif record := one.get_help_record(ctx):
                setting = (one.name or "").startswith("set_")
                sections[SETTINGS_SECTION if setting else "options"].append(record)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the examples and the exit codes."""
        with formatter.section("examples"):
            formatter.write("".join(f"  {line}\n" for line in self.examples.strip().splitlines()))
        formatter.write(f"\n{EXITS}\n")


def command(examples: str) -> Callable[[Callable[[Arguments, Screen], int]], click.Command]:
    """Make a command of a function that takes its arguments and the screen and returns an exit code.

    The function's docstring is the text of ``--help``; ``argument``, ``option`` and the shared options of
    ``nearhit.cli.options`` stand below as further decorators.

    Args:
        examples: what to type, one line each.
    """

    def made(run: Callable[[Arguments, Screen], int]) -> click.Command:
        def call(**given: Any) -> int:
            with Screen(json_wanted=given.get("json_wanted", False)) as screen:
                return run(Arguments(**given), screen)

        settings = {"max_content_width": 120, "help_option_names": ["-h", "--help"]}
        params = list(reversed(getattr(run, "__click_params__", [])))
        made = _Command(run.__name__, settings, call, params, run.__doc__)
        made.examples = examples
        return made

    return made


def argument(name: str, **more: Any) -> Decorator:
    """Declare an argument: what ``click.argument`` takes, and ``help``."""
    return click.argument(name, cls=_Argument, **more)


option = click.option
"""Declares an option."""


def complaint(error: click.ClickException) -> str:
    """Return in one line what is wrong with the words on the command line."""
    if isinstance(error, click.BadParameter) and error.param is not None:
        named = error.param.metavar if error.param.type is click.STRING else None
        name = error.param.opts[0] if isinstance(error.param, click.Option) else named or error.param.name
        if isinstance(error, click.MissingParameter):
            return f"the following arguments are required: {name}"
        return f"argument {name}: {error.message}"
    return " ".join(error.format_message().split())
