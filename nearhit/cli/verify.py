"""Verify: the command that shows what shadow verification has measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.screen import literal

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen
    from nearhit.settings import Settings
    from nearhit.verification.samples import Sample

DESCRIPTION = """
Shows how many semantic hits were wrong, as measured by asking the model again for a sample of them, which
NEARHIT_VERIFY_SHARE turns on: under the thresholds in force now, by whom they concern and by similarity. The bounds
hold with 95 % however often they are looked at. Exit code 1 where a budget is broken.
"""
EXAMPLES = """
nearhit verify
nearhit verify --json | jq .false_share
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "log_url"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Show it; return 1 when the measured rate is surely above the budget.

    Raises:
        ConfigError: a setting is wrong.
        StoreUnavailableError: the log's server does not answer.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    from nearhit.admin.thresholds import Thresholds  # noqa: PLC0415 - mistakes are said without loading anything
    from nearhit.cli.servers import Servers  # noqa: PLC0415 - the same
    from nearhit.verification import samples  # noqa: PLC0415 - the same
    from nearhit.verification.measure import in_force  # noqa: PLC0415 - the same

    with Servers(settings) as servers, Thresholds(settings) as thresholds:
        start_ms = (time.time() - settings.verify_window_seconds) * 1000
        every = [one for one in servers.log.run(samples.everything(servers.keys)) if one.at_ms >= start_ms]
        groups = in_force(every, {one.field: one for one in thresholds.entries()})
        found = [one for one in every if one.verdict in samples.VERDICTS]
    document = _described(settings, found, groups)
    if screen.json_wanted:
        screen.document(document)
    else:
        _show(document, screen)
    return exits.MISS if document["broken"] else exits.OK


def _described(settings: Settings, found: list[Sample], groups: dict[str, list[Sample]]) -> dict[str, Any]:
    from nearhit.verification.measure import bands, tally  # noqa: PLC0415 - help needs none of it

    current = [one for group in groups.values() for one in group]
    tallies = {field: tally(group) for field, group in sorted(groups.items())}
    return {
        "namespace": settings.namespace,
        "budget": settings.verify_budget,
        "ceiling": settings.verify_ceiling,
        "window_seconds": settings.verify_window_seconds,
        **tally(current).as_dict(),
        "broken": any(one.false_share.low > settings.verify_budget for one in tallies.values()),
        "before_thresholds_changed": len(found) - len(current),
        "thresholds": [
            {"field": field, "threshold": min(one.threshold for one in groups[field]), **each.as_dict()}
            for field, each in tallies.items()
        ],
        "bands": [{"from": low, **each.as_dict()} for low, each in bands(current).items()],
    }


def _show(document: dict[str, Any], screen: Screen) -> None:
    rows = [
        ("false hits", _share(document)),
        ("budget", f"{document['budget']:.1%}" + (", broken" if document["broken"] else "")),
        ("unjudged", str(document["unjudged"])),
        ("older", f"{document['before_thresholds_changed']} from before a threshold was changed, not counted"),
    ]
    rows += [(f"{_name(one['field'])} {one['threshold']:g}", _share(one)) for one in document["thresholds"]]
    rows += [(f"similarity {one['from']:.2f}", _share(one)) for one in document["bands"]]
    screen.pairs([(literal(name), literal(text)) for name, text in rows], indent=0)


def _name(field: str) -> str:
    kind, _, digest = field.partition(":")
    return "namespace" if kind == "*" else f"{kind} {digest[:8]}"


def _share(row: dict[str, Any]) -> str:
    share = row["false_share"]
    if share["value"] is None:
        return "nothing was judged"
    return f"{share['count']} of {share['total']}, {share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%})"
