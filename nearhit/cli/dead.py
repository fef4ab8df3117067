"""Dead: the command that lists, shows, replays and drops fills that were given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.command import INT, Arguments, Choice, argument, command, option
from nearhit.cli.screen import Screen
from nearhit.cli.servers import Servers
from nearhit.errors import ConfigError
from nearhit.write import dead_letters

if TYPE_CHECKING:
    from nearhit.write.dead_letters import DeadLetter

EXAMPLES = """
nearhit dead list
nearhit dead list --reason embedder_refused --json
nearhit dead show 1763862000000-0
nearhit dead replay --reason retries_exhausted
nearhit dead drop 1763862000000-0
"""


@command(EXAMPLES)
@argument(
    "action", type=Choice(("list", "show", "replay", "drop")), metavar="ACTION", help="list, show, replay or drop"
)
@argument("ids", metavar="[ID]...", nargs=-1, help="letters as `list` shows them")
@option("--reason", metavar="REASON", default="", help="only letters with this reason")
@option("--all", is_flag=True, help="all letters, for show, replay and drop")
@option("--limit", metavar="N", type=INT, default=100, help="letters that `list` shows; 100")
@options.json_output
@options.settings(*options.SERVERS, "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """List, show, replay or drop dead letters: fills that were given up, each with its reason.

    list shows them in a line each, show with question and answer; replay puts them back onto the queue; drop removes
    them for good. Fills whose time to live ended on the queue are only counted; stats says how many. Exit code 1 when
    an ID is not there.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    if arguments.action != "list" and not (arguments.ids or arguments.reason or arguments.all):
        raise ConfigError(f"dead {arguments.action} needs ids, --reason or --all")
    with Servers(settings) as servers:
        found = chosen(servers, arguments.ids, arguments.reason)
        missing = [one for one in arguments.ids if one not in {letter.id for letter in found}]
        for one in missing:
            screen.note(f"nearhit: there is no dead letter {one!r}")
        if arguments.action in {"replay", "drop"}:
            change(servers, arguments.action, found, screen)
    if arguments.action == "list":
        show_lines(found, arguments.limit, screen)
    elif arguments.action == "show":
        show_whole(found, screen)
    return exits.MISS if missing or (arguments.action == "show" and not found) else exits.OK


def chosen(servers: Servers, ids: tuple[str, ...], reason: str) -> list[DeadLetter]:
    """Return the letters of those ids, or without ids all of that reason; all of them where it is empty."""
    if ids:
        named = [servers.log.run(dead_letters.letter(servers.keys, one)) for one in ids]
        return [one for one in named if one is not None]
    found: list[DeadLetter] = []
    page = servers.log.run(dead_letters.letters(servers.keys))
    while page:
        found += [one for one in page if reason in {"", one.reason}]
        page = servers.log.run(dead_letters.letters(servers.keys, page[-1].id))
    return found


def described(one: DeadLetter) -> dict[str, Any]:
    """Return a letter as JSON, without its texts."""
    names = ("id", "reason", "lane", "detail", "tries", "queued_ms", "died_ms")
    return {**{name: getattr(one, name) for name in names}, "bytes": len(one.blob), "replayable": one.replayable}


def show_lines(found: list[DeadLetter], limit: int, screen: Screen) -> None:
    """Show letters, one a line."""
    for one in found[:limit]:
        screen.document(described(one))
        age = time.time() - one.died_ms / 1000
        screen.line(f"{one.id}  {one.reason}  {one.lane}  {age:.0f} s ago  {one.detail}")
    if not found:
        screen.line("no dead letters")
    elif len(found) > limit:
        screen.line(f"and {len(found) - limit} more")


def show_whole(found: list[DeadLetter], screen: Screen) -> None:
    """Show letters with their texts."""
    for one in found:
        fill = one.fill
        row = {**described(one), "prompt": fill.prompt if fill else None, "scope": fill.scope if fill else None}
        row["answer"] = (fill.response if fill else one.blob).decode(errors="replace")
        screen.document(row)
        screen.pairs([(name, str(value)) for name, value in row.items() if value is not None], indent=0)


def change(servers: Servers, action: str, found: list[DeadLetter], screen: Screen) -> None:
    """Replay or drop letters, and say how many."""
    done = 0
    for at in range(0, len(found), dead_letters.PAGE):
        page = found[at : at + dead_letters.PAGE]
        if action == "replay":
            done += servers.log.run(dead_letters.replay(servers.keys, page))
        else:
            done += servers.log.run(dead_letters.drop(servers.keys, [one.id for one in page]))
    screen.document({action: done, "left": len(found) - done})
    left = f"; {len(found) - done} cannot be read and stay" if action == "replay" and done < len(found) else ""
    screen.line(f"{done} {'replayed' if action == 'replay' else 'dropped'}{left}")
