"""Calibrate: the command that finds the threshold for a budget of false hits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError
from worker.cli import exits, options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nearhit.evaluation.calibrate import Calibration
    from nearhit.evaluation.rows import PairRow
    from nearhit.settings import Settings
    from worker.cli.screen import Screen

DESCRIPTION = """
Finds the lowest threshold at which the share of false hits stays within a budget, with a confidence, from labelled
pairs of your own: JSON lines with "prompt", "candidate" and "same". With --by, a threshold for each value of a field.
--report writes a page with plots and the worst false hits, which holds texts of the file. --apply sets what was found
in every running process, for each "scope" (an object, as lookups take it) or "tenant" where the rows name them.
"""
EXAMPLES = """
nearhit calibrate judged.jsonl --budget 0.05
nearhit calibrate judged.jsonl --budget 0.02 --confidence 0.9 --by source --report calibration.html
nearhit calibrate judged.jsonl --budget 0.05 --by tenant --apply
"""

_LABELS = ("source", "kind")
_WHOSE = ("scope", "tenant")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", metavar="FILE", help="labelled pairs")
    parser.add_argument("--budget", metavar="SHARE", type=float, default=0.05, help="false share of hits; 0.05")
    parser.add_argument("--confidence", metavar="SHARE", type=float, default=0.95, help="of the bound; 0.95")
    parser.add_argument("--floor", metavar="SIMILARITY", type=float, default=0.5, help="no threshold below; 0.5")
    parser.add_argument("--by", choices=(*_LABELS, *_WHOSE), help="a threshold for each value of this field")
    parser.add_argument("--apply", action="store_true", help="set what was found, see `nearhit threshold`")
    parser.add_argument("--no-guard", action="store_true", help="for a cache that runs without the guard")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="write a page with plots")
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "threshold", "model", "log_url"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Find and show the thresholds; return 1 when there is none within the budget.

    Raises:
        ConfigError: the file cannot be read, a row is wrong, or an option is out of range.
        UnavailableError: the embedder does not answer, or with --apply the log's server.
    """
    settings = options.settings_of(arguments, threshold_matters=arguments.apply)
    if arguments.apply and arguments.by in _LABELS:
        raise ConfigError(f"--apply needs rows by scope or tenant: no lookup knows the {arguments.by} of a row")
    from nearhit.embedding.many import embed_many  # noqa: PLC0415 - help needs none of it
    from nearhit.embedding.resolve import embedder_for  # noqa: PLC0415 - the same
    from nearhit.evaluation.metrics import pair_similarities, refusals  # noqa: PLC0415 - the same
    from nearhit.evaluation.rows import read_pairs  # noqa: PLC0415 - the same
    from nearhit.guard import Guard  # noqa: PLC0415 - the same

    rows = read_pairs(arguments.file)
    embedder = embedder_for(settings.model)
    similarities = pair_similarities(
        rows, lambda texts: embed_many(embedder, texts, lambda done, all_: screen.progress("embedded", done, all_))
    ).tolist()
    refused = [None] * len(rows) if arguments.no_guard else refusals(rows, similarities, Guard())
    by = arguments.by or (_whose(rows) if arguments.apply else "")
    found: dict[str, Any] = {}
    for name, chosen in _groups(rows, by):
        kept = [at for at in chosen if refused[at] is None]  # what the guard refuses is a hit at no threshold
        if kept:
            found[name] = _found(arguments, [similarities[at] for at in kept], [rows[at].same for at in kept])
    if arguments.report:
        from worker.cli.calibration_page import page  # noqa: PLC0415 - help needs none of it

        arguments.report.write_text(page(rows, similarities, refused, found), encoding="utf-8")
        screen.note(f"nearhit: wrote {arguments.report}")
    _show(arguments, screen, found)
    if arguments.apply:
        _apply(settings, screen, by, found)
    return exits.OK if found and all(one.threshold is not None for one in found.values()) else exits.MISS


def _found(arguments: argparse.Namespace, similarities: list[float], same: list[bool]) -> Calibration:
    from nearhit.evaluation.calibrate import calibrate  # noqa: PLC0415 - help needs none of it

    return calibrate(similarities, same, arguments.budget, confidence=arguments.confidence, floor=arguments.floor)


def _whose(rows: Sequence[PairRow]) -> str:
    """Return by what the rows say whose they are; empty where they do not."""
    return next((name for name in _WHOSE if any(getattr(row, name) for row in rows)), "")


def _groups(rows: Sequence[PairRow], by: str) -> list[tuple[str, list[int]]]:
    groups: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(getattr(row, by) if by else "all", []).append(at)
    return sorted(groups.items())


def _apply(settings: Settings, screen: Screen, by: str, found: dict[str, Any]) -> None:
    """Set the thresholds that were found; rows that name no scope or tenant speak for the namespace."""
    import json  # noqa: PLC0415 - help needs none of it

    from nearhit.thresholds.admin import Thresholds  # noqa: PLC0415 - the same

    with Thresholds(settings) as thresholds:
        for name, one in found.items():
            if one.threshold is None:
                continue
            whom: dict[str, Any] = {"scope": json.loads(name)} if by == "scope" and name else {}
            whom |= {"tenant": name} if by == "tenant" else {}
            why = f"calibrated: {one.false} false of {one.hits} hits, at most {one.bound:.1%}"
            value = max(one.threshold, settings.lowest_threshold)
            entry = thresholds.set(value, who=options.who(), why=why, **whom)
            held = "" if value == one.threshold else f" (the floor; {one.threshold:g} would do)"
            screen.line(f"set for {entry.about}: {value:g}{held}")


def _show(arguments: argparse.Namespace, screen: Screen, found: dict[str, Any]) -> None:
    if screen.json_wanted:
        screen.document(
            {"budget": arguments.budget, "thresholds": {name: one.as_dict() for name, one in found.items()}}
        )
        return
    for name, one in found.items():
        if one.threshold is None:
            screen.line(f"{name}: no threshold keeps false hits within {arguments.budget:.1%} of hits with these pairs")
            continue
        screen.line(
            f"{name}: threshold {one.threshold:.3f}: {one.false} false of {one.hits} hits, at most {one.bound:.1%} "
            f"with {arguments.confidence:.0%} confidence; {one.recall:.1%} of the right pairs are hits"
        )
