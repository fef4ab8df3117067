"""Reindex: the command that takes the entries of another embedding model over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options

if TYPE_CHECKING:
    import argparse

    from nearhit.admin.reindex import Compared, ReindexOutcome, ReindexProgress
    from nearhit.cli.screen import Screen
    from nearhit.embedding.registry import Registered

DESCRIPTION = """
After a change of the embedding model: puts the living entries of the other models onto the queue, where workers with
the configured model embed them anew, waits until all of them are searchable, and only then drops the old index and its
entries. An interrupted run goes on where it was; the old model serves until the end.
"""
EXAMPLES = """
nearhit reindex --dry-run
nearhit reindex --model text-embedding-3-small
nearhit reindex --from 0123456789ab --keep-old
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--from", dest="old", metavar="ID", help="fingerprint of one model; without it all others")
    parser.add_argument("--dry-run", action="store_true", help="only say which models there are, and how many entries")
    parser.add_argument("--keep-old", action="store_true", help="drop nothing")
    parser.add_argument("--timeout", type=float, default=3600.0, metavar="S", help="longest wait for workers; 3600")
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "model", "engine", "log_url"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Take the entries over; return 0 when all of them are searchable, 1 when some are not yet.

    Raises:
        ConfigError: a setting is wrong, or there is no such model.
        UnavailableError: a server or the embedder does not answer.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    from nearhit.admin.session import Session  # noqa: PLC0415 - mistakes in the arguments are said without loading it

    code = exits.OK
    with Session(settings) as site:
        found = _chosen(site.other_embedders(), arguments.old)
        if not found:
            screen.line("there are no entries of another model")
        for one in found:
            job = site.reindex(one.id)
            if arguments.dry_run:
                _show(one, {"living": job.compare().living}, screen)
                continue
            outcome = job.run(wait_seconds=arguments.timeout, keep_old=arguments.keep_old, say=_teller(screen))
            _show(one, _described(outcome), screen)
            code = code if outcome.whole else exits.MISS
    return code


def _chosen(known: list[Registered], old: str | None) -> list[Registered]:
    from nearhit.errors import ConfigError  # noqa: PLC0415 - help needs none of it

    if old is None:
        return known
    found = [one for one in known if one.id == old]
    if not found:
        names = ", ".join(f"{one.id} ({one.model})" for one in known) or "none"
        raise ConfigError(f"the namespace knows no other model {old!r}; there are: {names}")
    return found


def _teller(screen: Screen) -> Any:
    def say(state: ReindexProgress | Compared) -> None:
        from nearhit.admin.reindex import Compared  # noqa: PLC0415 - help needs none of it

        if isinstance(state, Compared):
            screen.note(f"{state.missing} of {state.living} entries are still on their way")
        else:
            screen.note(f"{state.queued} entries queued" + (", going on with an earlier run" if state.resumed else ""))

    return say


def _described(outcome: ReindexOutcome) -> dict[str, Any]:
    return {
        "queued": outcome.progress.queued,
        "unreadable": outcome.progress.unreadable,
        "living": outcome.compared.living,
        "missing": outcome.compared.missing,
        "searchable": outcome.whole,
        "dropped": outcome.dropped,
    }


def _show(one: Registered, values: dict[str, Any], screen: Screen) -> None:
    row = {"embedder": one.id, "model": one.model, **values}
    if screen.json_wanted:
        screen.document(row)
    else:
        screen.pairs([(name, str(value)) for name, value in row.items()])
