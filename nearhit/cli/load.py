"""Load: the command that fills a cache from files."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.bulk.checkpoint import Checkpoint, LoadProgress
from nearhit.bulk.estimate import estimate
from nearhit.bulk.load import LoadOptions, find_files, load_files
from nearhit.bulk.loader import LANE, Pace
from nearhit.bulk.rows import STDIN, Columns, format_of, read_rows
from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, INT, PATH, Arguments, Choice, argument, command, option
from nearhit.cli.screen import Screen, counted
from nearhit.cli.servers import Servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.settings import Settings

EXAMPLES = """
nearhit load answers.jsonl
nearhit load 'exports/*.parquet' --prompt question --answer reply --scope-column tenant --scope-column model
zcat dump.jsonl.gz | nearhit load - --dry-run
"""
_LIVE_SECONDS, _LINE_SECONDS = 0.5, 5.0
_STILL_SECONDS = 10.0


@command(EXAMPLES)
@argument("files", metavar="FILE...", nargs=-1, required=True, help="files, globs, or - for stdin")
@option("--format", type=Choice(("jsonl", "csv", "parquet")), help="of all files; without it, by their names")
@option("--prompt", metavar="COLUMN", default="", help="column of the question")
@option("--answer", metavar="COLUMN", default="", help="column of the answer")
@option("--scope-column", metavar="COLUMN", multiple=True, help="column of the scope; may be repeated")
@option("--checkpoint", metavar="FILE", type=PATH, help="where progress is kept; .nearhit-load.json")
@option("--rejects", metavar="FILE", type=PATH, help="where bad rows go; rejects.jsonl")
@option("--max-bad", metavar="SHARE", type=FLOAT, default=0.5, help="stop above this share of bad rows; 0.5")
@option("--max-depth", metavar="N", type=INT, default=20_000, help="fills in the lane at once; 20000")
@option("--no-wait", is_flag=True, help="return once the log has all, not once it is searchable")
@option("--dry-run", is_flag=True, help="check all rows and estimate; change nothing")
@options.json_output
@options.settings(*options.ALL)
def run(arguments: Arguments, screen: Screen) -> int:
    """Fill a cache from JSONL, CSV or Parquet files (.gz and .zst too, globs, - for stdin).

    The rows take the bulk lane: users' fills have priority. Columns are guessed (prompt or question, answer or
    response, …) or named. After an interruption the same command continues where it stopped. Bad rows go to a file with
    their place and the reason; the exit code is then 1.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    columns = Columns(arguments.prompt, arguments.answer, tuple(arguments.scope_column))
    if not arguments.dry_run:
        return load(arguments, settings, columns, screen)
    found = estimate(settings, arguments.files, arguments.format or "", columns)
    screen.document(found.values())
    screen.pairs(found.pairs(), indent=0)
    for place, reason in found.examples:
        screen.line(f"  {place}: {reason}")
    return exits.MISS if found.bad else exits.OK


def load(arguments: Arguments, settings: Settings, columns: Any, screen: Screen) -> int:
    """Load the files; return 0 when every row was taken, 1 when some were bad."""
    files, kind = find_files(arguments.files), arguments.format or ""
    rejects, checkpoint = arguments.rejects or Path("rejects.jsonl"), None
    total = None
    if STDIN not in files:
        checkpoint = arguments.checkpoint or Path(".nearhit-load.json")
        if screen.watched and not screen.json_wanted:
            total = sum(1 for path in files for _ in read_rows(path, format_of(path, kind)))
    pace = Pace(max_depth=arguments.max_depth, max_bad_share=arguments.max_bad)
    reporter = LoadReporter(screen, Checkpoint(checkpoint, files).load().accepted, total)
    how = LoadOptions(format=kind, columns=columns, pace=pace, checkpoint=checkpoint, rejects=rejects)
    progress = load_files(settings, arguments.files, how, lambda done, loader: reporter.report(done, loader.waiting))
    reporter.end(settings, progress, wait=not arguments.no_wait)
    if not progress.rejected:
        rejects.unlink(missing_ok=True)
        return exits.OK
    bad = "1 row was" if progress.rejected == 1 else f"{progress.rejected} rows were"
    screen.note(f"nearhit: {bad} bad; see {rejects}")
    return exits.MISS


class LoadReporter:
    """Shows how a load goes: a bar on a terminal, a line now and then elsewhere, or JSON.

    Args:
        screen: where.
        before: rows that an earlier run has loaded; they are not in this run's rate.
        total: rows of all files; ``None`` where nobody has counted them.
    """

    def __init__(self, screen: Screen, before: int, total: int | None) -> None:
        self._screen = screen
        self._before = before
        self._total = total
        self._started = self._shown_at = self._moved = time.monotonic()
        self._live = screen.watched and not screen.json_wanted
        self._every = _LIVE_SECONDS if self._live else _LINE_SECONDS
        self._stored = 0

    def report(self, progress: LoadProgress, waiting: Callable[[], int]) -> None:
        """Show the progress, at most twice a second; ``waiting`` asks how many fills the lane holds."""
        if time.monotonic() - self._shown_at >= self._every:
            self.show(progress, waiting())

    def end(self, settings: Settings, progress: LoadProgress, *, wait: bool) -> None:
        """Show the end: with ``wait`` once workers have stored all that the lane holds, else at once."""
        with Servers(settings) as servers:
            while (left := servers.lane(LANE)["fills"]) and wait:
                self.report(progress, partial(int, left))
                time.sleep(0.05)
        self._screen.end_progress()
        values = self.values(progress, left)
        self._screen.document({**values, "finished": True})
        done = f"on the queue, {left} of them not stored yet" if left else "stored and searchable"
        self._screen.line(
            f"{counted(progress.accepted, 'row')} {done}, {progress.rejected} bad, in {values['seconds']:.1f} s "
            f"({values['rows_per_second']:.0f} rows/s)"
        )

    def show(self, progress: LoadProgress, waiting: int) -> None:
        """Show how far it has come, and what to look at where rows wait and nobody has stored any for a while."""
        self._shown_at = time.monotonic()
        values = self.values(progress, waiting)
        if self._screen.json_wanted:
            self._screen.document({**values, "finished": False})
            return
        stored = values["stored"]
        if stored != self._stored or not waiting:
            self._stored, self._moved = stored, time.monotonic()
        still = time.monotonic() - self._moved
        text = f"{waiting} waiting, {progress.rejected} bad"
        hint = f"; nothing stored for {still:.0f} s: is a worker running?" if still > _STILL_SECONDS else ""
        if self._live:
            self._screen.progress("stored", stored, self._total and self._total - progress.rejected, text + hint)
        else:
            self._screen.note(f"{stored} stored, {text}, {values['rows_per_second']:.0f} rows/s{hint}")

    def values(self, progress: LoadProgress, waiting: int) -> dict[str, Any]:
        """Return the figures as JSON."""
        seconds = time.monotonic() - self._started
        stored = max(0, progress.accepted - waiting)
        return {
            "accepted": progress.accepted,
            "stored": stored,
            "waiting": waiting,
            "rejected": progress.rejected,
            "seconds": round(seconds, 3),
            "rows_per_second": round(max(0, stored - self._before) / max(seconds, 1e-9), 1),
        }
