"""Dead: the command that lists, shows, replays and drops fills that were given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.screen import literal

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen
    from nearhit.cli.servers import Servers
    from nearhit.write.dead_letters import DeadLetter

DESCRIPTION = """
Fills that were given up, each with its reason. list shows them, show one of them with its question and answer, replay
puts them back onto the queue, drop removes them for good.
"""
EXAMPLES = """
nearhit dead list
nearhit dead list --reason embedder_refused --json
nearhit dead show 1763862000000-0
nearhit dead replay --reason retries_exhausted
nearhit dead drop 1763862000000-0
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("action", choices=("list", "show", "replay", "drop"), help="what to do")
    parser.add_argument("ids", metavar="ID", nargs="*", help="letters as `list` shows them")
    parser.add_argument("--reason", default="", help="only letters with this reason")
    parser.add_argument("--all", action="store_true", help="all letters, for replay and drop")
    parser.add_argument("--limit", type=int, default=100, help="letters that `list` shows (default: 100)")
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "log_url"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Do it.

    Raises:
        ConfigError: a setting is wrong, an id is none, or there is nothing that says which letters.
        StoreUnavailableError: the log's server does not answer.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    from nearhit.cli.servers import Servers  # noqa: PLC0415 - the same
    from nearhit.errors import ConfigError  # noqa: PLC0415 - help needs none of it

    chosen_by_hand = bool(arguments.ids or arguments.reason or arguments.all)
    if arguments.action != "list" and not chosen_by_hand:
        raise ConfigError(f"dead {arguments.action} needs ids, --reason or --all")
    with Servers(settings) as servers:
        found = _chosen(servers, arguments)
        if arguments.action == "list":
            return _list(found, arguments.limit, screen)
        if arguments.action == "show":
            return _show(found, screen)
        return _change(servers, arguments.action, found, screen)


def _chosen(servers: Servers, arguments: argparse.Namespace) -> list[DeadLetter]:
    from nearhit.write import dead_letters  # noqa: PLC0415 - help needs none of it

    if arguments.ids:
        named = [servers.log.run(dead_letters.letter(servers.keys, one)) for one in arguments.ids]
        return [one for one in named if one is not None]
    found: list[DeadLetter] = []
    page = servers.log.run(dead_letters.letters(servers.keys))
    while page:
        found += [one for one in page if arguments.reason in {"", one.reason}]
        page = servers.log.run(dead_letters.letters(servers.keys, page[-1].id))
    return found


def _list(found: list[DeadLetter], limit: int, screen: Screen) -> int:
    for one in found[:limit]:
        if screen.json_wanted:
            screen.document(_row(one))
        else:
            age = time.time() - one.died_ms / 1000
            screen.line(f"{one.id}  {one.reason}  {one.lane}  {age:.0f} s ago  {one.detail}")
    if not found:
        screen.line("no dead letters")
    elif len(found) > limit:
        screen.line(f"and {len(found) - limit} more")
    return exits.OK


def _show(found: list[DeadLetter], screen: Screen) -> int:
    for one in found:
        fill = one.fill
        row = {**_row(one), "prompt": fill.prompt if fill else None, "scope": fill.scope if fill else None}
        row["answer"] = (fill.response if fill else one.blob).decode(errors="replace")
        if screen.json_wanted:
            screen.document(row)
        else:
            screen.pairs([(name, literal(str(value))) for name, value in row.items() if value is not None], indent=0)
    return exits.OK if found else exits.MISS


def _change(servers: Servers, action: str, found: list[DeadLetter], screen: Screen) -> int:
    from nearhit.write import dead_letters  # noqa: PLC0415 - help needs none of it

    done = 0
    for at in range(0, len(found), dead_letters.PAGE):
        page = found[at : at + dead_letters.PAGE]
        flow = (
            dead_letters.replay(servers.keys, page)
            if action == "replay"
            else dead_letters.drop(servers.keys, [x.id for x in page])
        )
        done += servers.log.run(flow)
    if screen.json_wanted:
        screen.document({action: done, "left": len(found) - done})
    left = f"; {len(found) - done} cannot be read and stay" if action == "replay" and done < len(found) else ""
    screen.line(f"{done} {'replayed' if action == 'replay' else 'dropped'}{left}")
    return exits.OK


def _row(one: DeadLetter) -> dict[str, Any]:
    return {
        "id": one.id,
        "reason": one.reason,
        "lane": one.lane,
        "detail": one.detail,
        "tries": one.tries,
        "queued_ms": one.queued_ms,
        "died_ms": one.died_ms,
        "bytes": len(one.blob),
        "replayable": one.replayable,
    }
