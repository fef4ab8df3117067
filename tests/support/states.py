"""States: what every stat panel shows in each of four staged states of a deployment.

By heading: the value and its colour. ``MISSING`` is the text for what is missing, ``SOME`` any number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.panels import BLUE, GREEN, ORANGE, RED, UNKNOWN, YELLOW
from tests.support.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping

SOME = -1.0
ANY = frozenset({GREEN, YELLOW, ORANGE, RED})
"""Colours of a value that depends on the machine: it is there, and known."""
TROUBLE = frozenset({YELLOW, RED})

Expected = tuple[float | None, frozenset[str]]


def _is(value: float | None, *colors: str) -> Expected:
    return value, frozenset(colors)


MISSING = _is(None, UNKNOWN)
UNSEEN = _is(None, RED)
"""Missing, where that is a failure."""

HEALTHY: dict[str, Expected] = {
    "Overview / Hit rate": (SOME, ANY),
    "Overview / Lookups": _is(SOME, BLUE),
    "Overview / Lookup p99": (SOME, ANY),
    "Overview / Failed lookups": _is(0, GREEN),
    "Overview / Saved": _is(SOME, GREEN),
    "Overview / Alerts": _is(0, GREEN),
    "Write-behind / Workers": _is(2, GREEN),
    "Write-behind / Away or not ready": _is(0, GREEN),
    "Write-behind / In the log": _is(SOME, GREEN),
    "Write-behind / Waiting for a retry": _is(0, GREEN),
    "Write-behind / Oldest fill": _is(SOME, GREEN),
    "Write-behind / Lag p99": (SOME, ANY),
    "Write-behind / Dead letters": _is(0, GREEN),
    "Write-behind / Spooled": _is(0, GREEN),
}

ENGINES: dict[str, dict[str, Expected]] = {
    "valkey-search": {
        "Index health / Entries": _is(SOME, BLUE),
        "Index health / Index memory": _is(SOME, BLUE),
        "Index health / Tombstones": (SOME, ANY),
        "Index health / Recall probe": (SOME, ANY),
        "Index health / Generation": _is(SOME, BLUE),
        "Replicas / Loaded replicas": MISSING,
        "Replicas / Entries": MISSING,
        "Replicas / Replica lag": MISSING,
        "Replicas / Left out": MISSING,
        "Replicas / Memory": MISSING,
    },
    "local": {
        "Index health / Entries": MISSING,
        "Index health / Index memory": MISSING,
        "Index health / Tombstones": MISSING,
        "Index health / Recall probe": MISSING,
        "Index health / Generation": MISSING,
        "Replicas / Loaded replicas": _is(SOME, GREEN),
        "Replicas / Entries": _is(SOME, BLUE),
        "Replicas / Replica lag": (SOME, ANY),
        "Replicas / Left out": _is(0, GREEN),
        "Replicas / Memory": _is(SOME, BLUE),
    },
}

LOG_DOWN: dict[str, Expected] = {
    "Overview / Alerts": _is(SOME, RED),
    "Write-behind / Away or not ready": _is(2, RED),
    "Write-behind / In the log": UNSEEN,
    "Write-behind / Waiting for a retry": UNSEEN,
    "Write-behind / Oldest fill": UNSEEN,
    "Write-behind / Lag p99": MISSING,
    "Write-behind / Spooled": (SOME, TROUBLE),
}
"""What is not healthy then; workers are live, and lookups go on."""

NO_WORKERS: dict[str, Expected] = {
    "Overview / Alerts": _is(SOME, RED),
    "Write-behind / Workers": _is(0, RED),
    "Write-behind / Away or not ready": _is(2, RED),
    "Write-behind / In the log": (SOME, ANY),  # streams and retries, as redis_exporter sees them
    "Write-behind / Waiting for a retry": UNSEEN,
    "Write-behind / Oldest fill": UNSEEN,
    "Write-behind / Lag p99": MISSING,
    "Write-behind / Dead letters": MISSING,
    "Index health / Entries": MISSING,
    "Index health / Index memory": MISSING,
    "Index health / Tombstones": MISSING,
    "Index health / Generation": MISSING,
}
"""A replica belongs to the application, and goes on."""

CACHE_DOWN: dict[str, Expected] = {
    "Overview / Hit rate": _is(0, RED),
    "Overview / Failed lookups": _is(1, RED),
    "Overview / Alerts": _is(SOME, RED),
    "Write-behind / Away or not ready": _is(2, RED),
    "Write-behind / In the log": (SOME, ANY),
    "Write-behind / Waiting for a retry": (SOME, TROUBLE),
    "Write-behind / Oldest fill": (SOME, TROUBLE),
    "Write-behind / Lag p99": MISSING,
    "Index health / Entries": MISSING,
    "Index health / Index memory": MISSING,
    "Index health / Tombstones": MISSING,
    "Index health / Generation": MISSING,
}
"""With the local engine, the replica falls behind and says for how long."""


def expected(changes: Mapping[str, Expected], engine: str) -> dict[str, Expected]:
    """Return what every stat panel shows in a state, by what differs from health."""
    changed = dict(changes)
    if changes is CACHE_DOWN and engine == "local":
        changed["Replicas / Replica lag"] = (SOME, TROUBLE)
    healthy = HEALTHY | ENGINES[engine]
    return healthy | {title: want for title, want in changed.items() if healthy[title] != MISSING}


def fits(shown: Shown, want: Expected) -> bool:
    """Whether a panel shows what it should."""
    value, colors = want
    if shown.color not in colors:
        return False
    if value is None or shown.value is None:
        return value is shown.value
    return value in {SOME, shown.value}
