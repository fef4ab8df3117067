"""Rows: fills as other Celery clients write them, turned into messages of the log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import structs

from nearhit.domain import fill_message
from nearhit.errors import ConfigError, ContractError, EntryError
from nearhit.write.fill_encoding import fill_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.domain.hit_policy import Lifetimes

CREATED = "created_seconds"
"""When the answer was given, seconds since the epoch. It orders answers: without it, a task that was delivered late
would write its old answer over a newer one."""

REASON = "bad_row"
"""The reason of the dead letter that a row becomes which cannot be read."""

_NUMBERS = ("ttl_seconds", "fresh_seconds", CREATED)
_MAPPINGS = ("usage", "refresh")


@dataclass(slots=True)
class Sorted:
    """Rows that were read.

    Attributes:
        fills: lane and message of each good row.
        refused: what came, reason and detail of each bad one.
    """

    fills: list[tuple[str, bytes]] = field(default_factory=list)
    refused: list[tuple[bytes, str, str]] = field(default_factory=list)


def sort_rows(rows: Any, lifetimes: Lifetimes, now_ms: int) -> Sorted:
    """Return which rows are fills, and why the others are none: a bad row never takes a good one with it.

    Args:
        rows: a list of rows, each as for ``fill_at``; anything else is one bad row.
        lifetimes: for what a row does not say.
        now_ms: now, milliseconds since the epoch.
    """
    found = Sorted()
    if not isinstance(rows, list | tuple):
        found.refused.append((text_of(rows), REASON, f"the rows are {type(rows).__name__}, expected a list"))
        return found
    for row in rows:
        try:
            found.fills.append(fill_at(row, lifetimes, now_ms))
        except (ContractError, ConfigError) as error:
            found.refused.append((text_of(row), REASON, str(error)))
        except Exception as error:  # noqa: BLE001 - the edge of the task: what nobody foresaw is one bad row, too
            found.refused.append((text_of(row), REASON, f"the row cannot be read: {type(error).__name__}"))
    return found


def text_of(value: Any) -> bytes:
    """Return what is kept of something that is no fill."""
    try:
        return json.dumps(value, default=str).encode()
    except (ValueError, TypeError, RecursionError):
        return f"a {type(value).__name__} that cannot be shown".encode()


def fill_at(row: Mapping[str, Any], lifetimes: Lifetimes, now_ms: int) -> tuple[str, bytes]:
    """Return the lane and the message of a row, for ``nearhit.fill``.

    Args:
        row: as for ``fill_of``, and ``created_seconds``; a time in the future counts as now, since no later
            answer could replace such an entry.
        lifetimes: for what the row does not say.
        now_ms: now, milliseconds since the epoch.

    Raises:
        ContractError: the row cannot be read; the message names the field.
        ConfigError: a time to live or the lane is out of range.
    """
    if not isinstance(row, dict):
        raise EntryError(f"the row is {type(row).__name__}, expected a mapping")
    _check_types(row)
    created = row.get(CREATED)
    lane, blob = fill_of({name: value for name, value in row.items() if name != CREATED}, lifetimes)
    if created is None:
        return lane, blob
    if not created > 0:
        raise EntryError(f"field {CREATED!r} of the row must be seconds since the epoch")
    fill = fill_message.decode(blob)
    return lane, fill_message.encode(structs.replace(fill, created_us=round(min(created, now_ms / 1e3) * 1e6)))


def _check_types(row: Mapping[str, Any]) -> None:
    """Refuse values of other types than documented, by the name of the field."""
    for name in _NUMBERS:
        value = row.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise EntryError(f"field {name!r} of the row is {type(value).__name__}, expected a number")
    for name in _MAPPINGS:
        value = row.get(name)
        if value is not None and not isinstance(value, dict):
            raise EntryError(f"field {name!r} of the row is {type(value).__name__}, expected a mapping")
