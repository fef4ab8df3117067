"""Threshold: the command that shows and changes the thresholds of processes while they run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, Arguments, Choice, argument, command, option
from nearhit.cli.screen import Screen
from nearhit.domain.threshold_table import SETTINGS
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from nearhit.domain.threshold_table import ThresholdEntry

EXAMPLES = """
nearhit threshold
nearhit threshold set 0.94 --why "wrong answers about prices"
nearhit threshold set 0.97 --tenant acme
nearhit threshold set 0.97 --scope model=gpt-5 --scope temperature=0
nearhit threshold set 0.97 --scope-digest 5d0d337a27229f39a766e386cd6c92f8
nearhit threshold unset --tenant acme
"""


@command(EXAMPLES)
@argument("action", type=Choice(("show", "set", "unset")), required=False, default="show", help="what to do; show")
@argument("value", metavar="[SIMILARITY]", type=FLOAT, required=False, help="the threshold to set")
@option("--why", default="", metavar="TEXT", help="reason, kept with the threshold")
@options.scope
@option("--scope-digest", metavar="HEX", help="one scope by its digest, as Miss.scope says it")
@options.json_output
@options.settings(*options.SERVERS, "threshold", "model", "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Show the thresholds that were set while processes run, or change them.

    They are those of the whole namespace, of a tenant (--tenant), or of one scope (--scope, with --tenant where it has
    one, or --scope-digest). Every process applies them within seconds, without a restart. The most specific one counts:
    the scope's, else the tenant's, else the namespace's, else NEARHIT_THRESHOLD. None may be below
    NEARHIT_THRESHOLD_FLOOR, which is NEARHIT_THRESHOLD where it is not set. unset ends with 1 when there was none.
    """
    settings = options.settings_of(arguments)
    whom = whom_of(arguments)
    if (arguments.value is None) == (arguments.action == "set"):
        raise ConfigError("a similarity belongs to `threshold set`, and to nothing else: nearhit threshold set 0.95")
    from nearhit.admin.thresholds import Thresholds  # noqa: PLC0415 - mistakes are said without loading anything

    with Thresholds(settings) as thresholds:
        if arguments.action == "set":
            entry = thresholds.set(arguments.value, who=options.who(), why=arguments.why, **whom)
            screen.document({"entries": [entry.as_dict()]})
            screen.line(f"{entry.name}: {entry.threshold:g}{was(entry)}, within seconds in every process")
            return exits.OK
        if arguments.action == "unset":
            there = thresholds.unset(**whom)
            screen.document({"entries": [], "removed": there})
            screen.line("unset" if there else "there was none")
            return exits.OK if there else exits.MISS
        entries = [thresholds.in_force(whom.get("scope", whom))] if whom else thresholds.entries()
    floor = settings.lowest_threshold
    found = [one.as_dict() for one in entries]
    screen.document({"configured": settings.threshold, "floor": floor, "entries": found})
    rows = [("settings", f"{settings.threshold:g}, floor {floor:g}")]
    screen.pairs([*rows, *((one.name, told(one, floor)) for one in entries if one.field != SETTINGS)], indent=0)
    return exits.OK


def whom_of(arguments: Arguments) -> dict[str, Any]:
    """Return scope or tenant: a tenant alone is all of its scopes, with ``--scope`` it is a part of the scope."""
    scope = options.scope_of(arguments)
    if arguments.scope_digest is not None:
        if scope:
            raise ConfigError("--scope-digest stands for the whole scope: it goes with neither --scope nor --tenant")
        from nearhit.domain.scope import Scope  # noqa: PLC0415 - help needs none of it

        return {"scope": Scope.from_digest(arguments.scope_digest)}
    if arguments.scope:
        return {"scope": scope}
    return {"tenant": scope["tenant"]} if scope else {}


def told(entry: ThresholdEntry, floor: float) -> str:
    """Return a threshold with who set it, when and why."""
    held = "" if entry.threshold >= floor else f" (raised to the floor {floor:g})"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.when_ms / 1000)) if entry.when_ms else "some time"
    about = f"{entry.about}; " if entry.about and entry.field.startswith("scope:") else ""
    by, why = f" by {entry.who}" if entry.who else "", f": {entry.why}" if entry.why else ""
    return f"{entry.threshold:g}{held}  {about}set {when}{by}{was(entry)}{why}"


def was(entry: ThresholdEntry) -> str:
    """Return the threshold before, where that is known."""
    return "" if entry.was is None else f" (was {entry.was:g})"
