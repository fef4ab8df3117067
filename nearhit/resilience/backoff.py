"""Backoff: how long to wait before the next try (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with full jitter under a ceiling; a provider's Retry-After goes before both.

    Full jitter draws from zero to the exponential wait, so that fills that failed together do not come back together.

    Attributes:
        first_seconds: the longest wait after the first failure.
        ceiling_seconds: the longest wait of all.
    """

    first_seconds: float = 0.25
    ceiling_seconds: float = 60.0

    def wait_seconds(self, tries: int, chance: float, retry_after_seconds: float | None = None) -> float:
        """Return how long to wait after ``tries`` failures, for a ``chance`` drawn from [0, 1).

        A Retry-After is waited for in full, up to ten times the ceiling, and a little jitter comes on top.
        """
        exponential = min(self.ceiling_seconds, self.first_seconds * 2.0 ** min(tries, 60)) * chance
        if retry_after_seconds is None:
            return exponential
        return min(retry_after_seconds, 10 * self.ceiling_seconds) + min(exponential, 1.0)
