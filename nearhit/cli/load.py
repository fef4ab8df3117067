"""Load: the command that fills a cache from files."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options

if TYPE_CHECKING:
    import argparse

    from nearhit.bulk.checkpoint import LoadProgress
    from nearhit.bulk.loader import Loader
    from nearhit.cli.screen import Screen
    from nearhit.settings import Settings

DESCRIPTION = """
Fills a cache from JSONL, CSV or Parquet files (.gz and .zst too, globs, - for stdin), on the bulk lane: users' fills
go before. Columns are guessed (prompt or question, answer or response, …) or named. Interrupted, the same command goes
on where it was. Bad rows go to a file with their place and the reason.
"""
EXAMPLES = """
nearhit load answers.jsonl
nearhit load 'exports/*.parquet' --prompt question --answer reply --scope-column tenant --scope-column model
zcat dump.jsonl.gz | nearhit load - --dry-run
"""
_TELL_SECONDS = 0.5
_STILL_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="files, globs, or - for stdin")
    parser.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="", help="instead of by the name")
    parser.add_argument("--prompt", metavar="COLUMN", default="", help="column of the question")
    parser.add_argument("--answer", metavar="COLUMN", default="", help="column of the answer")
    parser.add_argument("--scope-column", metavar="COLUMN", action="append", default=[], help="column of the scope")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, help="where progress is kept; .nearhit-load.json")
    parser.add_argument("--rejects", metavar="FILE", type=Path, help="where bad rows go; rejects.jsonl")
    parser.add_argument("--max-bad", metavar="SHARE", type=float, default=0.5, help="stop above this share; 0.5")
    parser.add_argument("--max-depth", metavar="N", type=int, default=20_000, help="fills in the lane at once; 20000")
    parser.add_argument("--no-wait", action="store_true", help="return once the log has all, not once it is searchable")
    parser.add_argument("--dry-run", action="store_true", help="check all rows and estimate; change nothing")
    options.add_json(parser)
    options.add_settings(parser, options.ALL)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Load the files; return 0 when every row was taken, 1 when some were bad.

    Raises:
        ConfigError: a file or a setting is wrong, or too many rows are bad.
        UnavailableError: the log's server was away too long.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    return _estimate(arguments, settings, screen) if arguments.dry_run else _load(arguments, settings, screen)


def _load(arguments: argparse.Namespace, settings: Settings, screen: Screen) -> int:
    from nearhit.bulk.load import LoadOptions, load_files  # noqa: PLC0415 - help needs none of it
    from nearhit.bulk.loader import Pace  # noqa: PLC0415 - the same

    rejects = arguments.rejects or Path("rejects.jsonl")
    stdin = arguments.files == ["-"]
    teller = _Teller(screen)
    progress = load_files(
        settings,
        arguments.files,
        LoadOptions(
            format=arguments.format,
            columns=_columns(arguments),
            pace=Pace(max_depth=arguments.max_depth, max_bad_share=arguments.max_bad),
            checkpoint=None if stdin else arguments.checkpoint or Path(".nearhit-load.json"),
            rejects=rejects,
        ),
        teller.tell,
    )
    if not arguments.no_wait:
        teller.wait(settings, progress)
    teller.end(progress)
    if not progress.rejected:
        rejects.unlink(missing_ok=True)
        return exits.OK
    screen.note(f"nearhit: {progress.rejected} rows were bad; see {rejects}")
    return exits.MISS


def _columns(arguments: argparse.Namespace) -> Any:
    from nearhit.bulk.rows import Columns  # noqa: PLC0415 - help needs none of it

    return Columns(arguments.prompt, arguments.answer, tuple(arguments.scope_column))


class _Teller:
    """Shows how a load goes: a line that is written over on a terminal, a line now and then elsewhere, or JSON."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._started = time.monotonic()
        self._told = 0.0
        self._live = sys.stderr.isatty() and not screen.json_wanted
        self._every = _TELL_SECONDS if self._live else 5.0
        self._first: int | None = None
        self._stored = 0
        self._moved = time.monotonic()

    def tell(self, progress: LoadProgress, loader: Loader) -> None:
        """Show the progress, at most twice a second."""
        if self._first is None:
            self._first = progress.accepted  # what an earlier run has loaded is not this run's rate
        if time.monotonic() - self._told >= self._every:
            self._show(progress, loader.waiting())

    def wait(self, settings: Settings, progress: LoadProgress) -> None:
        """Return once no fill of the lane is waiting any more."""
        from nearhit.cli.servers import Servers  # noqa: PLC0415 - help needs none of it

        with Servers(settings) as servers:
            while True:
                depth = servers.depth("bulk")
                waiting = depth.fills + depth.retrying
                if not waiting:
                    return
                if time.monotonic() - self._told >= self._every:
                    self._show(progress, waiting)
                time.sleep(0.05)

    def end(self, progress: LoadProgress) -> None:
        """Show the end."""
        if self._live:
            sys.stderr.write("\r\033[K")
        values = self._values(progress, 0)
        if self._screen.json_wanted:
            self._screen.document({**values, "finished": True})
        else:
            self._screen.line(
                f"{progress.accepted} rows loaded, {progress.rejected} bad, in {values['seconds']:.1f} s "
                f"({values['rows_per_second']:.0f} rows/s)"
            )

    def _show(self, progress: LoadProgress, waiting: int) -> None:
        self._told = time.monotonic()
        values = self._values(progress, waiting)
        if self._screen.json_wanted:
            self._screen.document({**values, "finished": False})
            return
        text = (
            f"{values['stored']} stored, {waiting} waiting, {progress.rejected} bad, "
            f"{values['rows_per_second']:.0f} rows/s{self._hint(values['stored'], waiting)}"
        )
        sys.stderr.write(f"\r\033[K{text}" if self._live else text + "\n")
        sys.stderr.flush()

    def _hint(self, stored: int, waiting: int) -> str:
        """Return what to look at where rows wait and nobody has stored any for a while."""
        if stored != self._stored or not waiting:
            self._stored, self._moved = stored, time.monotonic()
        still = time.monotonic() - self._moved
        return f"; nothing stored for {still:.0f} s: is a worker running?" if still > _STILL_SECONDS else ""

    def _values(self, progress: LoadProgress, waiting: int) -> dict[str, Any]:
        seconds = time.monotonic() - self._started
        stored = max(0, progress.accepted - waiting)
        return {
            "accepted": progress.accepted,
            "stored": stored,
            "waiting": waiting,
            "rejected": progress.rejected,
            "seconds": round(seconds, 3),
            "rows_per_second": round(max(0, stored - (self._first or 0)) / max(seconds, 1e-9), 1),
        }


def _estimate(arguments: argparse.Namespace, settings: Settings, screen: Screen) -> int:
    from nearhit.bulk.estimate import estimate  # noqa: PLC0415 - help needs none of it

    found = estimate(settings, arguments.files, arguments.format, _columns(arguments))
    if screen.json_wanted:
        screen.document(found.values())
    else:
        screen.pairs(found.pairs(), indent=0)
        for place, reason in found.examples:
            screen.line(f"  {place}: {reason}")
    return exits.MISS if found.bad else exits.OK
