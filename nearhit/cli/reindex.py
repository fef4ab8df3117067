"""Reindex: the command that takes the entries of another embedding model over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.admin.reindex import Compared, ReindexProgress
from nearhit.admin.session import Session
from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, Arguments, command, option
from nearhit.cli.screen import Screen
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from nearhit.embedding.registry import Registered

EXAMPLES = """
nearhit reindex --dry-run
nearhit reindex --model text-embedding-3-small
nearhit reindex --from 0123456789ab --keep-old
"""


@command(EXAMPLES)
@option("--from", "old", metavar="ID", help="fingerprint of one model; without it all others")
@option("--dry-run", is_flag=True, help="only say which models there are, and how many entries")
@option("--keep-old", is_flag=True, help="drop nothing")
@option("--timeout", metavar="S", type=FLOAT, default=3600.0, help="longest wait for workers; 3600")
@options.json_output
@options.settings(*options.SERVERS, "model", "engine", "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Take entries over after a change of the embedding model: exit code 1 when some are not searchable yet.

    Puts the living entries of the other models onto the queue, where workers with the configured model embed them anew,
    waits until all of them are searchable, and only then drops the old index and its entries. An interrupted run
    continues where it stopped; the old model serves until the end.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    code = exits.OK
    with Session(settings) as session:
        known = session.other_embedders()
        found = [one for one in known if arguments.old in {None, one.id}]
        if not found and arguments.old is not None:
            names = ", ".join(f"{one.id} ({one.model})" for one in known) or "none"
            raise ConfigError(f"the namespace knows no other model {arguments.old!r}; there are: {names}")
        if not found:
            screen.line("there are no entries of another model")
        for one in found:
            job = session.reindex(one.id)
            living = job.compare().living if arguments.dry_run or screen.watched else 0
            if arguments.dry_run:
                show(one, {"living": living}, screen)
                continue

            def say(state: ReindexProgress | Compared, living: int = living) -> None:
                show_progress(state, living, screen)

            done = job.run(wait_seconds=arguments.timeout, keep_old=arguments.keep_old, say=say)
            screen.end_progress()
            values = {"queued": done.progress.queued, "unreadable": done.progress.unreadable}
            values |= {"living": done.compared.living, "missing": done.compared.missing}
            show(one, {**values, "searchable": done.whole, "dropped": done.dropped}, screen)
            code = code if done.whole else exits.MISS
    return code


def show_progress(state: ReindexProgress | Compared, living: int, screen: Screen) -> None:
    """Show how far a run has come: a bar on a terminal, else lines."""
    if isinstance(state, Compared):
        text, done = f"{state.missing} of {state.living} entries are still on their way", state.living - state.missing
        screen.progress("searchable", done, state.living)
    else:
        text = f"{state.queued} entries queued" + (", continuing an earlier run" if state.resumed else "")
        screen.progress("queued", state.queued, living)
    if not screen.watched:
        screen.note(text)


def show(one: Registered, values: dict[str, Any], screen: Screen) -> None:
    """Show what there is of a model, or what became of it."""
    row = {"embedder": one.id, "model": one.model, **values}
    screen.document(row)
    screen.pairs([(name, str(value)) for name, value in row.items()])
