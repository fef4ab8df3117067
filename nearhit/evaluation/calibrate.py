"""Calibration: the lowest threshold whose false hits stay within a budget, with a confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from nearhit.domain.intervals import at_most, upper_bound
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEP: Final = 0.005
_STARTS: Final = 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and what it promises.

    Attributes:
        threshold: from which similarity a neighbour may answer; ``None``: no threshold keeps the budget.
        budget: the share of hits that may be false.
        confidence: how surely it is kept, on data like these.
        hits: pairs that pass at the threshold.
        false: of those, false.
        bound: the upper bound of their share.
        recall: share of the right pairs that pass.
    """

    threshold: float | None
    budget: float
    confidence: float
    hits: int
    false: int
    bound: float
    recall: float

    def as_dict(self) -> dict[str, Any]:
        """Return the calibration for JSON."""
        return {
            "threshold": self.threshold,
            "budget": self.budget,
            "confidence": self.confidence,
            "hits": self.hits,
            "false_hits": self.false,
            "false_share_upper_bound": round(self.bound, 5),
            "recall": round(self.recall, 5),
        }


def calibrate(
    similarities: Sequence[float],
    same: Sequence[bool],
    budget: float,
    *,
    confidence: float = 0.95,
    floor: float = 0.5,
) -> Calibration:
    """Return the lowest threshold whose false share of hits is within ``budget``.

    The thresholds are tried towards laxer ones, from two places on: the strictest that has hits enough to prove
    anything, and the strictest that has a quarter of all pairs as hits, since among few hits a single false one refutes
    what many would prove. The first failure ends each walk, and each has half of what the confidence leaves to chance:
    so trying many costs none of it (fixed sequences with two starts). Give only pairs that the guard accepts where a
    guard is in force.

    Args:
        similarities: of the labelled pairs.
        same: whether each shares its answer.
        budget: the share of hits that may be false, above 0 and below 1.
        confidence: with which the bound must hold, above 0 and below 1.
        floor: no threshold below this is tried.

    Raises:
        ConfigError: no pairs, lengths that differ, or a budget or confidence out of range.
    """
    if not len(similarities):
        raise ConfigError("there are no pairs to calibrate on")
    if len(similarities) != len(same):
        raise ConfigError(f"{len(similarities)} similarities but {len(same)} labels")
    for name, value in (("budget", budget), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ConfigError(f"{name}={value} is not between 0 and 1")
    needed = pairs_needed(budget, confidence)
    order = sorted(zip(map(float, similarities), map(bool, same), strict=True), reverse=True)
    steps = _steps(order, floor)
    chance = (1 - confidence) / _STARTS
    best: tuple[float, int, int] | None = None
    for least in (needed, max(needed, math.ceil(steps[-1][1] / 4))):
        for threshold, hits, false in steps:
            if hits < least:
                continue
            if at_most(false, hits, budget) > chance:
                break
            best = min(best, (threshold, hits, false)) if best else (threshold, hits, false)
    if best is None:
        return Calibration(None, budget, confidence, 0, 0, 1.0, 0.0)
    threshold, hits, false = best
    right_pairs = sum(truth for _, truth in order)
    recall = (hits - false) / right_pairs if right_pairs else 0.0
    return Calibration(threshold, budget, confidence, hits, false, upper_bound(false, hits, 1 - chance), recall)


def _steps(order: Sequence[tuple[float, bool]], floor: float) -> list[tuple[float, int, int]]:
    """Return thresholds, strictest first, with the hits and the false hits of each."""
    steps, place, false = [], 0, 0
    for step in range(int((1.0 - floor) / _STEP + 1.5)):
        threshold = round(1.0 - step * _STEP, 6)
        while place < len(order) and order[place][0] >= threshold:
            false += not order[place][1]
            place += 1
        steps.append((threshold, place, false))
    return steps


def pairs_needed(budget: float, confidence: float) -> int:
    """Return how many hits without a false one it takes to keep ``budget`` with ``confidence``."""
    return math.ceil(math.log((1 - confidence) / _STARTS) / math.log(1 - budget))
