"""Outcomes: which misses say the same of a cache that was just made."""

from __future__ import annotations

from nearhit import MissReason

NOTHING = frozenset({MissReason.EMPTY, MissReason.WARMING})
"""Nothing is there; for a second after its making, an index says that it may still be reading entries."""

FAR = frozenset({MissReason.BELOW_THRESHOLD, MissReason.WARMING})
"""Nothing near is there; the same holds."""
