"""Rows: fills as other Celery clients write them, turned into messages of the log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nearhit import message
from nearhit.errors import EntryError
from nearhit.parts import fill_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.policy import Lifetimes

CREATED = "created_seconds"
"""When the answer was given, seconds since the epoch. It orders answers: without it, a task that was delivered late
would write its old answer over a newer one."""


def fill_at(row: Mapping[str, Any], lifetimes: Lifetimes, now_ms: int) -> tuple[str, bytes]:
    """Return the lane and the message of a row, for ``nearhit.fill``.

    Args:
        row: as for ``parts.fill_of``, and ``created_seconds``; a time in the future counts as now, since no later
            answer could replace such an entry.
        lifetimes: for what the row does not say.
        now_ms: now, milliseconds since the epoch.

    Raises:
        ContractError: the row cannot be read; the message names the field.
        ConfigError: a time to live or the lane is out of range.
    """
    if not isinstance(row, dict):
        raise EntryError(f"the row is {type(row).__name__}, expected a mapping")
    created = row.get(CREATED)
    lane, blob = fill_of({name: value for name, value in row.items() if name != CREATED}, lifetimes)
    if created is None:
        return lane, blob
    if isinstance(created, bool) or not isinstance(created, int | float) or not created > 0:
        raise EntryError(f"field {CREATED!r} of the row must be seconds since the epoch, not {created!r}")
    fill = message.decode(blob)
    return lane, message.encode(replace(fill, created_us=round(min(created * 1e6, now_ms * 1e3))))
