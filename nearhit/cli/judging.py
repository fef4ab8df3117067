"""Judging: the option ``--judge`` and the labelling of traffic, for commands that ask a judge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.cli.command import INT, PATH, Arguments, Decorator, option
from nearhit.cli.screen import Screen
from nearhit.errors import ConfigError, UnavailableError
from nearhit.evaluation.labels import Labels, Spent, held, label
from nearhit.evaluation.traffic import Candidate, nearest_pairs, read_traffic, sample
from nearhit.guard import Guard
from nearhit.judge.litellm_judge import LiteLLMJudge
from nearhit.judge.resolve import judge_for
from nearhit.settings import JUDGES, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.evaluation.embedded import Embed
    from nearhit.evaluation.rows import PairRow
    from nearhit.flow.ports import Judgement, PairJudge

_SECONDS = 60.0
_SAMPLE = 500
_AT_ONCE = 4


def judge_option(text: str) -> Decorator:
    """Declare ``--judge``."""
    return option("--judge", metavar="MODEL", help=f"{text}: a chat model of LiteLLM, or onnx:FOLDER")


def labelling(function: Any) -> Any:
    """Declare ``--judge`` and what belongs to labelling traffic by it."""
    for one in (
        option("--at-once", metavar="N", type=INT, default=_AT_ONCE, help=f"with --judge: parallel calls; {_AT_ONCE}"),
        option("--out-labels", metavar="FILE", type=PATH, help="with --judge: where labels go and are taken from"),
        option("--sample", metavar="N", type=INT, default=_SAMPLE, help=f"with --judge: pairs to label; {_SAMPLE}"),
        judge_option("FILE has no labels: let this judge give them"),
    ):
        function = one(function)
    return function


def judge_named(name: str, level: float) -> PairJudge:
    """Return the judge that an option names: as the setting does, or by the model string of LiteLLM alone."""
    judge = judge_for(name if name.startswith(JUDGES) else f"litellm/{name.strip()}", level)
    if judge is None:
        raise ConfigError("--judge must name a model, not be empty")
    return judge


def ask(judge: PairJudge, prompt: str, candidate: str) -> Judgement:
    """Return what a judge says of one pair, within a minute; raises as the judge does."""
    return held(judge)(prompt, candidate, _SECONDS)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Traffic with the labels of a judge.

    Attributes:
        rows: the pairs that have a label.
        judge: who gave the new ones.
        found: pairs of the traffic that were there to choose from.
        sampled: how many of them were chosen.
        known: of those, with a label in the file before.
        spent: what the rest took.
        estimate_dollars: what it was thought to cost; ``None`` without a price.
    """

    rows: list[PairRow]
    judge: str
    found: int
    sampled: int
    known: int
    spent: Spent
    estimate_dollars: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the account for JSON."""
        return {
            "judge": self.judge,
            "pairs_found": self.found,
            "sampled": self.sampled,
            "known": self.known,
            "asked": self.spent.asked,
            "without_verdict": self.spent.failed,
            "tokens": self.spent.tokens,
            "cost_dollars": round(self.spent.dollars, 6),
            "estimated_dollars": None if self.estimate_dollars is None else round(self.estimate_dollars, 6),
        }


def label_traffic(arguments: Arguments, settings: Settings, screen: Screen, embed: Embed) -> Labelled:
    """Return a sample of the file's traffic with the labels of ``--judge``; labels of an earlier run stay."""
    check_options(arguments)
    judge = judge_named(arguments.judge, settings.judge_level)
    candidates = candidates_of(arguments, settings, embed)
    chosen = sample(candidates, arguments.sample)
    labels = Labels(arguments.out_labels)
    missing = [one for one in chosen if labels.get(one) is None]
    known = len(chosen) - len(missing)
    if known:
        screen.note(f"nearhit: {known} of {len(chosen)} pairs have their label in {arguments.out_labels}")
    estimate: float | None = 0.0
    spent = Spent()
    if missing:
        estimate = announce(judge, missing, screen)
        spent = label_missing(judge, missing, labels, arguments, screen)
    rows = [row for one in chosen if (row := labels.get(one)) is not None]
    return Labelled(rows, judge.name, len(candidates), len(chosen), known, spent, estimate)


def check_options(arguments: Arguments) -> None:
    """Raise ``ConfigError`` when an option of ``labelling`` is missing or out of range."""
    if arguments.out_labels is None:
        raise ConfigError("--judge needs --out-labels FILE: labels cost money, so they are kept in a file")
    if arguments.out_labels.resolve() == Path(arguments.file).resolve():
        raise ConfigError(f"--out-labels {arguments.out_labels} is the file of the traffic itself")
    for name in ("sample", "at_once"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(arguments, name)}")


def candidates_of(arguments: Arguments, settings: Settings, embed: Embed) -> list[Candidate]:
    """Return the pairs of the file, or those that a lookup of its questions would have had to decide on."""
    traffic = read_traffic(arguments.file)
    if traffic.pairs:
        return list(dict.fromkeys(traffic.pairs))
    guard = None if arguments.no_guard else Guard()
    return nearest_pairs(traffic.questions, embed, guard, neighbours=settings.neighbours, floor=arguments.floor)


def announce(judge: PairJudge, missing: Sequence[Candidate], screen: Screen) -> float | None:
    """Say what the judge will cost and return its price in dollars; ``None`` where nobody knows."""
    if not isinstance(judge, LiteLLMJudge):
        screen.note(f"nearhit: asking {judge.name} about {len(missing)} pairs, in this process")
        return 0.0
    tokens, dollars = judge.estimate([(one.prompt, one.candidate) for one in missing])
    screen.note(f"nearhit: asking {judge.name} about {len(missing)} pairs: about {tokens:,} tokens{_dollars(dollars)}")
    return dollars


def label_missing(
    judge: PairJudge, missing: Sequence[Candidate], labels: Labels, arguments: Arguments, screen: Screen
) -> Spent:
    """Let the judge label pairs and return what it took."""
    before = len(labels)
    try:
        tell = partial(screen.progress, "labelled")
        spent = label(missing, judge, labels, at_once=arguments.at_once, tell=tell)
    except UnavailableError as error:
        done = len(labels) - before
        message = f"{error}; {done} of {len(missing)} labels are in {arguments.out_labels}, run again to go on"
        raise UnavailableError(message) from error
    screen.note(
        f"nearhit: {judge.name} gave {spent.asked - spent.failed} labels of {spent.asked} for {spent.tokens:,} tokens"
        f"{_dollars(spent.dollars or None) if spent.tokens else ''}; they are in {arguments.out_labels}"
    )
    return spent


def _dollars(dollars: float | None) -> str:
    return ", price unknown" if dollars is None else f", ${dollars:.4f}"
