"""Guard: the check that a near text means the same. Pure: no client, no clock, no I/O but its own weights file."""

from __future__ import annotations

from nearhit.guard.judge import Guard
from nearhit.guard.verdict import REASONS, Difference, Explanation, RefusalReason, Verdict

__all__ = ["REASONS", "Difference", "Explanation", "Guard", "RefusalReason", "Verdict"]
