"""Figures: what the demo's answers amount to. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain.outcome import Hit, Tier
from nearhit_worker.demo.questions import DemoQuestion, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.domain.outcome import Miss

LEAST_REWORDINGS = 0.5
"""Share of the rewordings that must hit; below it something is broken, or the threshold is far too high."""

_SHOWN = {Kind.EXACT: 4, Kind.REWORDING: 10, Kind.TRAP: 7, Kind.STRANGER: 3}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and what the cache said."""

    question: DemoQuestion
    outcome: Hit | Miss

    @property
    def wrong(self) -> bool:
        """Whether an answer was given that is not the question's."""
        return isinstance(self.outcome, Hit) and self.outcome.answer != self.question.right


@dataclass(frozen=True, slots=True)
class Filled:
    """How the fills went.

    Attributes:
        accepted: fills that the log took.
        first_lag: seconds from the first fill to its being searchable, with everything still cold.
        lags: the same for each of the others.
        lost: prompts that were not searchable in time.
    """

    accepted: int
    first_lag: float
    lags: tuple[float, ...]
    lost: tuple[str, ...] = ()


def summarise(asked: Sequence[Asked], filled: Filled) -> dict[str, Any]:
    """Return all figures, times in milliseconds."""
    hits = [one for one in asked if isinstance(one.outcome, Hit)]
    wrong = sum(one.wrong for one in asked)
    tiers = Counter(one.outcome.tier.value for one in hits if isinstance(one.outcome, Hit))
    return {
        "kinds": {kind.value: kind_figures([one for one in asked if one.question.kind is kind]) for kind in Kind},
        "asked": len(asked),
        "hits": {tier.value: tiers[tier.value] for tier in Tier},
        "hit_rate": {tier.value: _share(tiers[tier.value], len(asked)) for tier in Tier},
        "wrong_answers": wrong,
        "fills": {
            "accepted": filled.accepted,
            "searchable": filled.accepted - len(filled.lost),
            "lag_ms": {**_times(filled.lags), "first": round(filled.first_lag * 1000, 1)},
        },
        "lookup_ms": {
            "exact": _stages([one for one in asked if is_exact(one.outcome)]),
            "semantic": _stages([one for one in asked if not is_exact(one.outcome)]),
        },
    }


def failures(summary: dict[str, Any]) -> list[str]:
    """Return what went wrong, each as a line; empty when the demo shows what it should."""
    said = []
    fills, kinds = summary["fills"], summary["kinds"]
    if fills["searchable"] < fills["accepted"]:
        said.append(f"{fills['accepted'] - fills['searchable']} fills were not searchable in time")
    if kinds["exact"]["hits"] < kinds["exact"]["asked"]:
        said.append(
            f"{kinds['exact']['asked'] - kinds['exact']['hits']} exact repeats missed: {kinds['exact']['misses']}"
        )
    if kinds["rewording"]["hit_rate"] < LEAST_REWORDINGS:
        said.append(f"{kinds['rewording']['hit_rate']:.1%} of the rewordings hit, {LEAST_REWORDINGS:.0%} are needed")
    return said


def selection(asked: Sequence[Asked]) -> list[Asked]:
    """Return some of each kind, evenly spread over its file and not picked by outcome."""
    chosen: list[Asked] = []
    for kind, wanted in _SHOWN.items():
        rows = [one for one in asked if one.question.kind is kind]
        step = max(1, len(rows) // wanted)
        chosen += rows[step // 2 :: step][:wanted]
    return chosen


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of ``values``; 0 for none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def kind_figures(asked: list[Asked]) -> dict[str, Any]:
    """Return the figures of the questions of one kind."""
    hits = sum(isinstance(one.outcome, Hit) for one in asked)
    misses = Counter(one.outcome.reason.value for one in asked if not isinstance(one.outcome, Hit))
    return {
        "asked": len(asked),
        "hits": hits,
        "hit_rate": _share(hits, len(asked)),
        "wrong": sum(one.wrong for one in asked),
        "misses": dict(misses.most_common()),
    }


def _stages(asked: list[Asked]) -> dict[str, dict[str, float]]:
    names = dict.fromkeys(name for one in asked for name in one.outcome.stages)
    return {name: _times([one.outcome.stages[name] for one in asked if name in one.outcome.stages]) for name in names}


def _times(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": round(percentile(seconds, share / 100) * 1000, 2) for share in (50, 99)}


def is_exact(outcome: Hit | Miss) -> bool:
    """Return whether an outcome is a hit of the very question."""
    return isinstance(outcome, Hit) and outcome.tier is Tier.EXACT


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
