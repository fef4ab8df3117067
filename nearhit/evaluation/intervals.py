"""Intervals: how far a measured share can be from the true one."""

from __future__ import annotations

import math
from dataclasses import dataclass


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


def upper_bound(count: int, total: int, confidence: float = 0.95) -> float:
    """Return the Clopper-Pearson upper bound: a higher true share would give ``count`` or fewer too seldom."""
    if not total or count >= total:
        return 1.0
    low, high = count / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(count, total, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(count: int, total: int, probability: float) -> float:
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
