"""Circuit breaker: stops asking a part that keeps failing, and tries it again later with one call."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable


class CircuitBreaker:
    """Counts failures in a row; open, it refuses calls until ``cool_down_seconds`` have passed.

    Then one call is let through. If it succeeds the breaker closes, if it fails the wait starts anew.

    Args:
        failures: how many in a row open it.
        cool_down_seconds: how long it refuses before it lets one call try.
        clock: monotonic seconds.
    """

    def __init__(
        self, failures: int = 3, cool_down_seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = failures
        self._cool_down = cool_down_seconds
        self._clock = clock
        self._lock = PerProcess(threading.Lock)
        self._failed = 0
        self._opened_at = 0.0
        self._failed_at = float("-inf")

    @property
    def open(self) -> bool:
        """Whether calls are refused or only tried one at a time."""
        return self._failed >= self._limit

    def allows(self) -> bool:
        """Return whether a call may go out now; a True while open is the one try."""
        if self._failed < self._limit:  # read without the lock: the closed breaker is on every lookup's path
            return True
        with self._lock.get():
            now = self._clock()
            if now - self._opened_at < self._cool_down:
                return False
            self._opened_at = now
            return True

    def succeeded(self) -> None:
        """Close the breaker."""
        if self._failed:
            with self._lock.get():
                self._failed = 0

    def failed(self, began: float | None = None) -> None:
        """Count a failure; the one that reaches the limit opens the breaker.

        Args:
            began: when the call began, by the breaker's clock. One that began before the last failure is no further
                one: where calls share a connection, a single lost packet fails all that wait for it.
        """
        with self._lock.get():
            if began is not None and began < self._failed_at:
                return
            self._failed_at = self._clock()
            self._failed += 1
            if self._failed >= self._limit:
                self._opened_at = self._failed_at
