"""Verify: the command that shows what shadow verification has measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nearhit.admin.thresholds import Thresholds
from nearhit.cli import exits, options
from nearhit.cli.command import Arguments, command
from nearhit.cli.screen import Screen
from nearhit.cli.servers import Servers
from nearhit.verification import samples
from nearhit.verification.measure import bands, in_force, tally

if TYPE_CHECKING:
    from nearhit.settings import Settings
    from nearhit.verification.samples import Sample

EXAMPLES = """
nearhit verify
nearhit verify --json | jq .false_share
"""


@command(EXAMPLES)
@options.json_output
@options.settings(*options.SERVERS, "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Show how many semantic hits were wrong: exit code 1 when a budget is broken.

    They were measured by asking the model again for a sample of them, which NEARHIT_VERIFY_SHARE turns on. The figures
    are for the thresholds in force now, by whom they concern and by similarity; the bounds hold with 95 % however often
    they are looked at.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    with Servers(settings) as servers, Thresholds(settings) as thresholds:
        start_ms = (time.time() - settings.verify_window_seconds) * 1000
        every = [one for one in servers.log.run(samples.everything(servers.keys)) if one.at_ms >= start_ms]
        entries = {one.field: one for one in thresholds.entries()}
        groups = in_force(every, entries)
        found = [one for one in every if one.verdict in samples.VERDICTS]
    document = described(settings, found, groups)
    screen.document(document)
    show(document, {field: one.name for field, one in entries.items()}, screen)
    return exits.MISS if document["broken"] else exits.OK


def described(settings: Settings, found: list[Sample], groups: dict[str, list[Sample]]) -> dict[str, Any]:
    """Return the figures of all samples and of those by threshold in force, as JSON."""
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


def show(document: dict[str, Any], names: dict[str, str], screen: Screen) -> None:
    """Show the figures to people, with thresholds by ``names`` of whom they concern."""
    rows = [
        ("false hits", _share(document)),
        ("budget", f"{document['budget']:.1%}" + (", broken" if document["broken"] else "")),
        ("unjudged", str(document["unjudged"])),
        ("older", f"{document['before_thresholds_changed']} from before a threshold was changed, not counted"),
    ]
    rows += [
        (f"{names.get(one['field'], 'namespace')} {one['threshold']:g}", _share(one)) for one in document["thresholds"]
    ]
    rows += [(f"similarity {one['from']:.2f}", _share(one)) for one in document["bands"]]
    screen.pairs(rows, indent=0)


def _share(row: dict[str, Any]) -> str:
    share = row["false_share"]
    if share["value"] is None:
        return "nothing was judged"
    return f"{share['count']} of {share['total']}, {share['value']:.1%} ({share['low']:.1%} to {share['high']:.1%})"
