"""Closing: how long a close may take in all, and how long each of its parts."""

from __future__ import annotations

import time
from typing import Final

CLOSE_SECONDS: Final = 1.0
"""How long closing a cache takes at most, whatever hangs."""


class Closing:
    """Shares one time limit among parts that are closed one after the other.

    Args:
        seconds: of all of them together.
    """

    def __init__(self, seconds: float = CLOSE_SECONDS) -> None:
        self._began = time.monotonic()
        self._seconds = seconds

    def until(self, share: float) -> float:
        """Return the seconds until ``share`` of the whole time has passed; 0 where it has."""
        return max(0.0, self._began + share * self._seconds - time.monotonic())
