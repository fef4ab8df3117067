"""Intervals: confidence intervals of a measured share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its Wilson interval.

    Attributes:
        count: how many there were.
        total: of how many.
        low: lower end of the 95 % interval.
        high: upper end of it.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The share itself; ``None`` of nothing."""
        return self.count / self.total if self.total else None

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the share for JSON, rounded to five digits."""
        value = self.value
        return {
            "value": None if value is None else round(value, 5),
            "low": round(self.low, 5),
            "high": round(self.high, 5),
            "count": self.count,
            "total": self.total,
        }


def share(count: int, total: int, z: float = 1.96) -> Share:
    """Return ``count / total`` with its Wilson interval; of nothing, the interval is 0 to 1."""
    if not total:
        return Share(0, 0, 0.0, 1.0)
    value = count / total
    spread = z * z / total
    middle = (value + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(value * (1 - value) / total + spread / (4 * total))
    return Share(count, total, max(0.0, middle - half), min(1.0, middle + half))


def share_at_any_look(count: int, total: int, confidence: float = 0.95) -> Share:
    """Return ``count / total`` with bounds that hold however often they are looked at while samples come in.

    An ordinary interval is for one look at a number of samples that was fixed before: looked at after every sample, it
    misses the true share some day with near certainty. This is the confidence sequence of the mixture martingale with a
    Beta(1/2, 1/2) prior (Robbins 1970): by Ville's inequality the true share is outside at any look at all with a
    chance of at most ``1 - confidence``. Wider than an ordinary interval: by a half at 20 samples, twice at 10,000.
    """
    if not total:
        return Share(0, 0, 0.0, 1.0)
    limit = _log_beta(count + 0.5, total - count + 0.5) - _log_beta(0.5, 0.5) + math.log(1 - confidence)
    value = count / total
    low = _crossing(lambda share_: _log_likelihood(count, total, share_) >= limit, value, 0.0)
    high = _crossing(lambda share_: _log_likelihood(count, total, share_) >= limit, value, 1.0)
    return Share(count, total, low, high)


def _crossing(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where ``holds`` ends between a share at which it does and the end of the range."""
    if holds(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return outside


def _log_likelihood(count: int, total: int, share_: float) -> float:
    if (count and share_ <= 0.0) or (count < total and share_ >= 1.0):
        return -math.inf
    right = count * math.log(share_) if count else 0.0
    return right + ((total - count) * math.log1p(-share_) if count < total else 0.0)


def _log_beta(one: float, other: float) -> float:
    return math.lgamma(one) + math.lgamma(other) - math.lgamma(one + other)


def upper_bound(count: int, total: int, confidence: float = 0.95) -> float:
    """Return the Clopper-Pearson upper bound: a higher true share would give ``count`` or fewer too seldom."""
    if not total or count >= total:
        return 1.0
    return _crossing(lambda share_: at_most(count, total, share_) > 1 - confidence, count / total, 1.0)


def at_most(count: int, total: int, probability: float) -> float:
    """Return the chance of ``count`` or fewer successes in ``total`` tries."""
    if probability <= 0.0:
        return 1.0
    if probability >= 1.0:
        return 0.0
    log_p, log_q = math.log(probability), math.log1p(-probability)
    whole = math.lgamma(total + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * log_p + (total - k) * log_q)
        for k in range(count + 1)
    )
