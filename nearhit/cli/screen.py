"""Screen: shows results, as text for people or as JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.progress import Progress, TaskID
    from rich.table import Table

_WIDTH_OF_A_FILE = 140


class Screen:
    """Where a command shows what it found. Colour ends by itself outside a terminal and under ``NO_COLOR``.

    A block around it ends whatever it shows live, so that the terminal is as it was.

    Args:
        json_wanted: show JSON documents, one a line, and nothing else on stdout.
    """

    def __init__(self, *, json_wanted: bool = False) -> None:
        self.json_wanted = json_wanted
        self._console: Console | None = None
        self._live: Live | None = None
        self._progress: tuple[str, Progress, TaskID] | None = None

    @property
    def console(self) -> Console:
        """The terminal, or the file that stdout is; for text alone."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415 - help and JSON need no rich

            width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
            self._console = Console(highlight=False, width=width)
        return self._console

    def document(self, values: Any) -> None:
        """Write one JSON document on one line, where JSON is wanted; all other methods show nothing then."""
        if self.json_wanted:
            sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def line(self, text: str = "", style: str = "") -> None:
        """Show a line of text, taken literally."""
        if not self.json_wanted:
            self.console.print(text, style=style or None, markup=False, soft_wrap=True)

    def marked(self, text: str) -> None:
        """Show a line that may hold ``[bold]`` and other marks of rich."""
        if not self.json_wanted:
            self.console.print(text, soft_wrap=True)

    def pairs(self, rows: Sequence[tuple[str, str]], indent: int = 2) -> None:
        """Show names and values in two columns, taken literally; pairs without a value are left out."""
        shown = [(name, literal(value)) for name, value in rows if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            self.marked(f"{' ' * indent}[dim]{literal(f'{name:{width}}')}[/]  {value}")

    def view(self, view: RenderableType) -> None:
        """Show what rich can draw."""
        if not self.json_wanted:
            self.console.print(view)

    def table(self, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show a table under a title."""
        self.line()
        self.view(table(title, heads, rows))

    def live(self, view: RenderableType) -> None:
        """Show something in place of what this showed before; one after the other outside a terminal."""
        if self.json_wanted or not sys.stdout.isatty():
            self.view(view)
            return
        if self._live is None:
            from rich.live import Live  # noqa: PLC0415 - only one command needs it

            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        self._live.update(view, refresh=True)

    @property
    def watched(self) -> bool:
        """Whether a person sees ``progress``: stderr is a terminal."""
        return sys.stderr.isatty()

    def progress(self, what: str, done: int, all_: int | None = None, detail: str = "") -> None:
        """Show on stderr how far something has come; nothing outside a terminal.

        Args:
            what: what is done, for example ``embedded``; another one starts another bar.
            done: how many are; the bar ends when it is all of them.
            all_: how many there are; ``None`` where nobody knows.
            detail: what else there is to say.
        """
        if not self.watched:
            return
        if self._progress is None or self._progress[0] != what:
            self.end_progress()
            bar = _bar()
            self._progress = what, bar, bar.add_task(what, total=all_)
            bar.start()
        _, bar, task = self._progress
        bar.update(task, description=f"{what} {detail}".rstrip(), completed=done, total=all_)
        if done == all_:
            self.end_progress()

    def end_progress(self) -> None:
        """Take the bar away; the next progress starts another one."""
        if self._progress is not None:
            self._progress[1].stop()
            self._progress = None

    def note(self, text: str) -> None:
        """Write a line to stderr: hints and what goes on, never results."""
        if self._progress is not None:
            self._progress[1].console.print(text, markup=False, soft_wrap=True)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def error(self, text: str, command: str = "nearhit") -> None:
        """Say what went wrong: on stderr, and where JSON is wanted as ``{"error": …}`` on stdout, too."""
        self.document({"error": text})
        self.note(f"{command}: {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_progress()
        if self._live is not None:
            self._live.stop()


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of rich with its first column on the left and numbers on the right."""
    from rich.table import Table  # noqa: PLC0415 - help and JSON need no rich

    shown = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1))
    for at, head in enumerate(heads):
        shown.add_column(head, justify="right" if at else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*row)
    return shown


def literal(text: str) -> str:
    """Return ``text`` so that rich shows it as it is."""
    from rich.markup import escape  # noqa: PLC0415 - help and JSON need no rich

    return escape(text)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, for example ``1 entry`` or ``2 rows``."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def milliseconds(seconds: float) -> str:
    """Return a time as people read it, for example ``4.2 ms``."""
    value = seconds * 1000
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def mebibytes(size: int) -> str:
    """Return a size as people read it, for example ``1.5 MiB``."""
    return f"{size / 2**20:.1f} MiB"


def _bar() -> Progress:
    """Return a bar on stderr with percentage, rate and time left; it goes away when it ends."""
    from rich import progress  # noqa: PLC0415 - only terminals need it
    from rich.console import Console  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    class Rate(progress.ProgressColumn):
        """How far it has come, and how many a second."""

        def render(self, task: progress.Task) -> Text:
            """Return the cell."""
            if not task.total and not task.completed:
                return Text("")  # nobody can say how far it has come
            share = "" if task.total is None else f"of {task.total:,.0f} {task.percentage:3.0f} % "
            return Text(f"{task.completed:,.0f} {share}{task.speed or 0:,.0f}/s")

    bar, past, left = progress.BarColumn(), progress.TimeElapsedColumn(), progress.TimeRemainingColumn()
    columns = "{task.description}", bar, Rate(), past, left
    console = Console(stderr=True, highlight=False)
    return progress.Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
