"""Calibrate: the command that finds the threshold for a budget of false hits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, judging, options
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nearhit.cli.judging import Labelled
    from nearhit.cli.screen import Screen
    from nearhit.evaluation.calibrate import Calibration
    from nearhit.evaluation.rows import PairRow
    from nearhit.settings import Settings

DESCRIPTION = """
Finds the lowest threshold at which the share of false hits stays within a budget, with a confidence, from labelled
pairs of your own: JSON lines with "prompt", "candidate" and "same"; overall, and for each "scope" (an object, as
lookups take it), "tenant" or "namespace" where the rows name them, or for each value of the field --by. One with too
few pairs to prove anything takes the overall threshold.

With --judge, FILE is traffic without labels: questions in time order ("prompt"), or pairs ("prompt", "candidate"). A
sample of the pairs that a lookup would have had to decide on is labelled by a language model. Its labels go to
--out-labels, where a person can correct them; run again, and what is labelled there is not asked again.

--report writes a page with plots and the worst false hits, which holds texts of the file. --apply sets what was found
in every running process, for each scope or tenant where the rows name them.
"""
EXAMPLES = """
nearhit calibrate judged.jsonl --budget 0.05
nearhit calibrate judged.jsonl --budget 0.02 --confidence 0.9 --by source --report calibration.html
nearhit calibrate judged.jsonl --budget 0.05 --by tenant --apply
nearhit calibrate questions.jsonl --judge openai/gpt-4o-mini --sample 300 --out-labels judged.jsonl
"""

_LABELS = ("source", "kind", "namespace")
_WHOSE = ("scope", "tenant")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", metavar="FILE", help="labelled pairs; with --judge, traffic")
    parser.add_argument("--budget", metavar="SHARE", type=float, default=0.05, help="false share of hits; 0.05")
    parser.add_argument("--confidence", metavar="SHARE", type=float, default=0.95, help="of the bound; 0.95")
    parser.add_argument("--floor", metavar="SIMILARITY", type=float, default=0.5, help="no threshold below; 0.5")
    parser.add_argument("--by", choices=(*_LABELS, *_WHOSE), help="a threshold for each value of this field")
    parser.add_argument("--apply", action="store_true", help="set what was found, see `nearhit threshold`")
    parser.add_argument("--no-guard", action="store_true", help="for a cache that runs without the guard")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="write a page with plots")
    judging.add_labelling(parser)
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "threshold", "model", "log_url"))


@dataclass(frozen=True, slots=True)
class Found:
    """What was found.

    Attributes:
        by: the field whose values have thresholds of their own; empty for none.
        overall: for all pairs; ``None`` where the guard refuses them all.
        groups: by the field's values, or ``all``.
        few: of those, with how many pairs of their own, which were too few: theirs is the overall one.
        needed: how many they would have needed.
    """

    by: str
    overall: Calibration | None
    groups: dict[str, Calibration]
    few: dict[str, int]
    needed: int


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Find and show the thresholds; return 1 when there is none within the budget.

    Raises:
        ConfigError: the file cannot be read, a row is wrong, or an option is out of range.
        UnavailableError: the embedder or the judge does not answer, or with --apply the log's server.
    """
    settings = options.settings_of(arguments, threshold_matters=arguments.apply)
    if arguments.apply and arguments.by in _LABELS:
        raise ConfigError(f"--apply needs rows by scope or tenant: no lookup knows the {arguments.by} of a row")
    from nearhit.embedding.bulk import embed_many  # noqa: PLC0415 - help needs none of it
    from nearhit.embedding.resolve import embedder_for  # noqa: PLC0415 - the same
    from nearhit.evaluation.metrics import pair_similarities, refusals  # noqa: PLC0415 - the same
    from nearhit.evaluation.rows import read_pairs  # noqa: PLC0415 - the same
    from nearhit.guard import Guard  # noqa: PLC0415 - the same

    embedder = embedder_for(settings.model)

    def embed(texts: Sequence[str]) -> Any:
        return embed_many(embedder, texts, lambda done, all_: screen.progress("embedded", done, all_))

    if arguments.out_labels and not arguments.judge:
        raise ConfigError("--out-labels is for the labels of --judge")
    labelled = judging.label_traffic(arguments, settings, screen, embed) if arguments.judge else None
    rows = labelled.rows if labelled is not None else read_pairs(arguments.file)
    similarities = pair_similarities(rows, embed).tolist() if rows else []
    refused = [None] * len(rows) if arguments.no_guard else refusals(rows, similarities, Guard())
    found = _found(arguments, rows, similarities, refused)
    if arguments.report:
        from nearhit.cli.calibration_page import page  # noqa: PLC0415 - help needs none of it

        arguments.report.write_text(page(rows, similarities, refused, _named(found), _few(found)), encoding="utf-8")
        screen.note(f"nearhit: wrote {arguments.report}")
    _show(arguments, screen, found, labelled)
    if arguments.apply:
        _apply(settings, screen, found.by, found.groups)
    groups = found.groups.values()
    return exits.OK if groups and all(one.threshold is not None for one in groups) else exits.MISS


def _found(
    arguments: argparse.Namespace, rows: Sequence[PairRow], similarities: list[float], refused: Sequence[str | None]
) -> Found:
    from nearhit.evaluation.calibrate import calibrate, pairs_needed  # noqa: PLC0415 - help needs none of it

    def calibrated(kept: list[int]) -> Calibration:
        near, same = [similarities[at] for at in kept], [rows[at].same for at in kept]
        return calibrate(near, same, arguments.budget, confidence=arguments.confidence, floor=arguments.floor)

    by = arguments.by or _whose(rows)
    kept = [at for at, why in enumerate(refused) if why is None]  # what the guard refuses is a hit at no threshold
    overall = calibrated(kept) if kept or not rows else None
    needed = pairs_needed(arguments.budget, arguments.confidence)
    groups, few = {}, {}
    for name, chosen in _groups(rows, by):
        own = [at for at in chosen if refused[at] is None]
        if by and len(own) < needed:
            few[name] = len(own)
        one = overall if name in few or not by else calibrated(own)
        if one is not None:
            groups[name] = one
    return Found(by, overall, groups, few, needed)


def _whose(rows: Sequence[PairRow]) -> str:
    """Return by what the rows say whose they are; empty where they do not."""
    return next((name for name in (*_WHOSE, "namespace") if any(getattr(row, name) for row in rows)), "")


def _groups(rows: Sequence[PairRow], by: str) -> list[tuple[str, list[int]]]:
    groups: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        groups.setdefault(getattr(row, by) if by else "all", []).append(at)
    return sorted(groups.items())


def _apply(settings: Settings, screen: Screen, by: str, found: dict[str, Any]) -> None:
    """Set the thresholds that were found; rows that name no scope or tenant speak for the namespace."""
    import json  # noqa: PLC0415 - help needs none of it

    from nearhit.admin.thresholds import Thresholds  # noqa: PLC0415 - the same

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


def _named(found: Found) -> dict[str, Calibration]:
    """Return what was found by name, the overall one first where there are several."""
    overall = {"overall": found.overall} if found.by and found.overall is not None else {}
    return {**overall, **{name or f"(no {found.by})": one for name, one in found.groups.items()}}


def _few(found: Found) -> dict[str, int]:
    return {name or f"(no {found.by})": count for name, count in found.few.items()}


def _show(arguments: argparse.Namespace, screen: Screen, found: Found, labelled: Labelled | None) -> None:
    if screen.json_wanted:
        document: dict[str, Any] = {"budget": arguments.budget, "by": found.by or None}
        document["thresholds"] = {name: one.as_dict() for name, one in found.groups.items()}
        document["overall"] = found.overall.as_dict() if found.overall is not None else None
        document["too_few_pairs"] = {
            name: {"pairs": count, "needed": found.needed} for name, count in found.few.items()
        }
        document["judged"] = labelled.as_dict() if labelled is not None else None
        screen.document(document)
        return
    few = _few(found)
    for name, one in _named(found).items():
        screen.line(f"{name}: {_described(one, arguments)}{_too_few(few.get(name), found.needed)}")
    if labelled is not None:
        screen.line(
            f"The labels are those of {labelled.judge}: look at {arguments.out_labels}, above all at the false."
        )


def _described(one: Calibration, arguments: argparse.Namespace) -> str:
    if one.threshold is None:
        return f"no threshold keeps false hits within {arguments.budget:.1%} of hits with these pairs"
    return (
        f"threshold {one.threshold:.3f}: {one.false} false of {one.hits} hits, at most {one.bound:.1%} "
        f"with {arguments.confidence:.0%} confidence; {one.recall:.1%} of the right pairs are hits"
    )


def _too_few(own: int | None, needed: int) -> str:
    return "" if own is None else f" (overall: it has {own} pairs of its own, and {needed} are needed)"
