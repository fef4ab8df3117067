"""Screen: shows results, as text for people or as JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

_WIDTH_OF_A_FILE = 140


class Screen:
    """Where a command shows what it found. Colour ends by itself outside a terminal and under ``NO_COLOR``.

    Args:
        json_wanted: show JSON documents, one a line, and nothing else on stdout.
    """

    def __init__(self, *, json_wanted: bool = False) -> None:
        self.json_wanted = json_wanted
        self._console: Console | None = None
        self._shown = 0

    @property
    def console(self) -> Console:
        """The terminal, or the file that stdout is; for text alone."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415 - help and JSON need no rich

            width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
            self._console = Console(highlight=False, width=width)
        return self._console

    def document(self, values: Any) -> None:
        """Write one JSON document on one line."""
        sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def line(self, text: str = "", style: str = "") -> None:
        """Show a line of text, taken literally; nothing when JSON is wanted."""
        if not self.json_wanted:
            self.console.print(text, style=style or None, markup=False, soft_wrap=True)

    def marked(self, text: str) -> None:
        """Show a line that may hold ``[bold]`` and other marks of rich; nothing when JSON is wanted."""
        if not self.json_wanted:
            self.console.print(text, soft_wrap=True)

    def pairs(self, rows: Sequence[tuple[str, str]], indent: int = 2) -> None:
        """Show names and values in two columns; a value may hold ``[bold]`` and other marks of rich."""
        if self.json_wanted or not rows:
            return
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.console.print(f"{' ' * indent}[dim]{name:{width}}[/]  {value}", soft_wrap=True)

    def over(self, lines: Sequence[str]) -> None:
        """Show lines in place of those that this showed before; one after the other outside a terminal."""
        if sys.stdout.isatty() and self._shown:
            sys.stdout.write(f"\033[{self._shown}F\033[J")
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        self._shown = len(lines)

    def progress(self, what: str, done: int, all_: int) -> None:
        """Show on stderr how far something has come, over and over on one line; nothing outside a terminal."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{what} {done:,} of {all_:,}" if done < all_ else "\r\033[K")
            sys.stderr.flush()

    def note(self, text: str) -> None:
        """Write a line to stderr: progress and hints, never results."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def literal(text: str) -> str:
    """Return ``text`` so that rich shows it as it is."""
    from rich.markup import escape  # noqa: PLC0415 - help and JSON need no rich

    return escape(text)


def milliseconds(seconds: float) -> str:
    """Return a time as people read it, for example ``4.2 ms``."""
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"
