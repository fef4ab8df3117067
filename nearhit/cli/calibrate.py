"""Calibrate: the command that finds the threshold for a budget of false hits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nearhit.admin import thresholds as admin
from nearhit.cli import exits, judging, options
from nearhit.cli.calibration_page import page
from nearhit.cli.command import FLOAT, PATH, Arguments, Choice, argument, command, option
from nearhit.cli.screen import Screen
from nearhit.embedding.bulk import embed_many
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ConfigError
from nearhit.evaluation.calibrate import Calibration, calibrate, pairs_needed
from nearhit.evaluation.metrics import pair_similarities, refusals
from nearhit.evaluation.rows import PairRow, read_pairs
from nearhit.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.cli.judging import Labelled
    from nearhit.settings import Settings

EXAMPLES = """
nearhit calibrate judged.jsonl --budget 0.05
nearhit calibrate judged.jsonl --budget 0.02 --confidence 0.9 --by source --report calibration.html
nearhit calibrate judged.jsonl --budget 0.05 --by tenant --apply
nearhit calibrate questions.jsonl --judge openai/gpt-4o-mini --sample 300 --out-labels judged.jsonl
"""

_LABELS = ("source", "kind", "namespace")
_WHOSE = ("scope", "tenant")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds that the pairs support.

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

    def named(self, name: str) -> str:
        """Return a group's name for people: rows without the field have an empty one."""
        return name or f"(no {self.by})"

    def shown(self) -> dict[str, Calibration]:
        """Return the calibrations by name for people, the overall one first where there are several."""
        overall = {"overall": self.overall} if self.by and self.overall is not None else {}
        return {**overall, **{self.named(name): one for name, one in self.groups.items()}}


@command(EXAMPLES)
@argument("file", metavar="FILE", help="labelled pairs; with --judge, traffic")
@option("--budget", metavar="SHARE", type=FLOAT, default=0.05, help="false share of hits; 0.05")
@option("--confidence", metavar="SHARE", type=FLOAT, default=0.95, help="of the bound; 0.95")
@option("--floor", metavar="SIMILARITY", type=FLOAT, default=0.5, help="no threshold below; 0.5")
@option("--by", type=Choice((*_LABELS, *_WHOSE)), help="a threshold for each value of this field")
@option("--apply", is_flag=True, help="set what was found, see `nearhit threshold`")
@option("--no-guard", is_flag=True, help="for a cache that runs without the guard")
@option("--report", metavar="FILE.html", type=PATH, help="write a page with plots")
@judging.labelling
@options.json_output
@options.settings(*options.SERVERS, "threshold", "model", "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Find the lowest threshold that keeps the share of false hits within a budget, with a confidence.

    It takes labelled pairs of your own: JSON lines with "prompt", "candidate" and "same". It finds one overall, and one
    for each "scope" (an object, as lookups take it), "tenant" or "namespace" where the rows name them, or for each
    value of the field --by. One with too few pairs to prove anything takes the overall threshold. Exit code 1 when no
    threshold keeps the budget.

    With --judge, FILE is traffic without labels: questions in time order ("prompt"), or pairs ("prompt", "candidate").
    A language model labels a sample of the pairs that a lookup would have had to decide on. Its labels go to
    --out-labels, where a person can correct them; a further run does not ask about what is labelled there.

    --report writes a page with plots and the worst false hits, which holds texts of the file. --apply sets what was
    found in every running process, for each scope or tenant where the rows name them.
    """
    settings = options.settings_of(arguments, threshold_matters=arguments.apply)
    if arguments.apply and arguments.by in _LABELS:
        raise ConfigError(f"--apply needs rows by scope or tenant: lookups have no {arguments.by}")
    if arguments.out_labels and not arguments.judge:
        raise ConfigError("--out-labels is for the labels of --judge")
    embed = partial(embed_many, embedder_for(settings.model), tell=partial(screen.progress, "embedded"))
    labelled = judging.label_traffic(arguments, settings, screen, embed) if arguments.judge else None
    rows = labelled.rows if labelled is not None else read_pairs(arguments.file)
    similarities = pair_similarities(rows, embed).tolist() if rows else []
    refused = [None] * len(rows) if arguments.no_guard else refusals(rows, similarities, Guard())
    found = find(arguments, rows, similarities, refused)
    if arguments.report:
        few = {found.named(name): count for name, count in found.few.items()}
        arguments.report.write_text(page(rows, similarities, refused, found.shown(), few), encoding="utf-8")
        screen.note(f"nearhit: wrote {arguments.report}")
    show(arguments, screen, found, labelled)
    if arguments.apply:
        apply(settings, screen, found)
    groups = found.groups.values()
    return exits.OK if groups and all(one.threshold is not None for one in groups) else exits.MISS


def find(
    arguments: Arguments, rows: Sequence[PairRow], similarities: list[float], refused: Sequence[str | None]
) -> Thresholds:
    """Return the lowest thresholds that keep the budget, for all pairs and for each group that the rows name."""

    def calibrated(kept: list[int]) -> Calibration:
        near, same = [similarities[at] for at in kept], [rows[at].same for at in kept]
        return calibrate(near, same, arguments.budget, confidence=arguments.confidence, floor=arguments.floor)

    fields = (*_WHOSE, "namespace")
    by = arguments.by or next((name for name in fields if any(getattr(row, name) for row in rows)), "")
    members: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        members.setdefault(getattr(row, by) if by else "all", []).append(at)
    kept = [at for at, why in enumerate(refused) if why is None]  # what the guard refuses is a hit at no threshold
    overall = calibrated(kept) if kept or not rows else None
    needed = pairs_needed(arguments.budget, arguments.confidence)
    groups, few = {}, {}
    for name, chosen in sorted(members.items()):
        own = [at for at in chosen if refused[at] is None]
        if by and len(own) < needed:
            few[name] = len(own)
        one = overall if name in few or not by else calibrated(own)
        if one is not None:
            groups[name] = one
    return Thresholds(by, overall, groups, few, needed)


def apply(settings: Settings, screen: Screen, found: Thresholds) -> None:
    """Set the thresholds that were found; rows that name no scope or tenant speak for the namespace."""
    with admin.Thresholds(settings) as thresholds:
        for name, one in found.groups.items():
            if one.threshold is None:
                continue
            whom: dict[str, Any] = {"scope": json.loads(name)} if found.by == "scope" and name else {}
            whom |= {"tenant": name} if found.by == "tenant" else {}
            why = f"calibrated: {one.false} false of {one.hits} hits, at most {one.bound:.1%}"
            value = max(one.threshold, settings.lowest_threshold)
            entry = thresholds.set(value, who=options.who(), why=why, **whom)
            held = "" if value == one.threshold else f" (the floor; {one.threshold:g} would do)"
            screen.line(f"set for {entry.about}: {value:g}{held}")


def show(arguments: Arguments, screen: Screen, found: Thresholds, labelled: Labelled | None) -> None:
    """Show the thresholds, as JSON or a line each."""
    document: dict[str, Any] = {"budget": arguments.budget, "by": found.by or None}
    document["thresholds"] = {name: one.as_dict() for name, one in found.groups.items()}
    document["overall"] = found.overall.as_dict() if found.overall is not None else None
    document["too_few_pairs"] = {name: {"pairs": own, "needed": found.needed} for name, own in found.few.items()}
    document["judged"] = labelled.as_dict() if labelled is not None else None
    screen.document(document)
    few = {
        found.named(name): f" (overall: it has {own} pairs of its own, and {found.needed} are needed)"
        for name, own in found.few.items()
    }
    for name, one in found.shown().items():
        if one.threshold is None:
            text = f"no threshold keeps false hits within {arguments.budget:.1%} of hits with these pairs"
            text += f"; {found.needed} pairs prove it when none is false"
        else:
            text = (
                f"threshold {one.threshold:.3f}: {one.false} false of {one.hits} hits, at most {one.bound:.1%} with "
                f"{arguments.confidence:.0%} confidence; {one.recall:.1%} of the right pairs are hits"
            )
        screen.line(f"{name}: {text}{few.get(name, '')}")
    if labelled is not None:
        screen.line(
            f"The labels are those of {labelled.judge}: look at {arguments.out_labels}, above all at the false."
        )
