"""Threshold table: the thresholds set at run time, by namespace, tenant and scope. Pure.

A record is JSON, so that people can read it with any client: ``threshold``, ``who``, ``when_ms``, ``why``, ``was`` (the
threshold before) and ``about`` (whom it concerns, in the words of who set it).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from nearhit.domain.hit_policy import check_threshold
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.domain.hit_policy import Rules

NAMESPACE = "*"
"""The field of the entry that concerns the whole namespace."""

SETTINGS = "settings"
"""Origin of a threshold that no entry has changed."""

MAX_ENTRIES = 1_000
"""Entries in one namespace: every process reads them all every few seconds."""

REFUSALS = ("unreadable", "below_floor")
"""Why a reader does not take an entry as it is. A closed set: it is a metric label."""

_MAX_TEXT = 200
_TEXTS = ("who", "why", "about")


@dataclass(frozen=True, slots=True)
class ThresholdEntry:
    """A threshold that was set while processes run.

    Attributes:
        field: whom it concerns: ``*``, ``tenant:`` or ``scope:`` and a digest.
        threshold: similarity from which a neighbour may answer.
        who: who set it.
        when_ms: when, milliseconds since the epoch.
        why: in words.
        was: the threshold before, where that was known.
        about: whom it concerns, in words: digests cannot be turned back.
    """

    field: str
    threshold: float
    who: str = ""
    when_ms: int = 0
    why: str = ""
    was: float | None = None
    about: str = ""

    @property
    def name(self) -> str:
        """Whom it concerns, for people: a tenant by its name, a scope by the first digits of its digest."""
        kind, _, digest = self.field.partition(":")
        if kind == "tenant" and self.about:
            return self.about
        return "namespace" if self.field == NAMESPACE else f"{kind} {digest[:8]}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        """Return the entry for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Table:
    """What entries make of a process's own rules.

    Attributes:
        rules: by field; empty where nobody has set anything.
        refused: why entries are not taken as they are: field, and one of ``REFUSALS``.
    """

    rules: Mapping[str, Rules]
    refused: Mapping[str, str]


def tenant_field(digest: str) -> str:
    """Return the field of the entry that concerns a tenant's scopes, by the tenant's digest."""
    return f"tenant:{digest}"


def scope_field(digest: str) -> str:
    """Return the field of the entry that concerns one scope, by its digest."""
    return f"scope:{digest}"


def encode(entry: ThresholdEntry) -> bytes:
    """Return an entry as it is stored."""
    row = entry.as_dict()
    del row["field"]
    short = {name: row[name][:_MAX_TEXT] for name in _TEXTS}
    return json.dumps({**row, **short}, ensure_ascii=False).encode("utf-8", "replace")


def decode(field: str, blob: bytes) -> ThresholdEntry:
    """Return the entry that is stored under ``field``; only its threshold must be there.

    Raises:
        ConfigError: it cannot be read, or its threshold is no similarity.
    """
    try:
        row = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the threshold entry {field!r} of {len(blob)} bytes is not JSON") from error
    if not isinstance(row, dict):
        raise ConfigError(f"the threshold entry {field!r} of {len(blob)} bytes is not a JSON object")
    when_ms, was = row.get("when_ms"), row.get("was")
    return ThresholdEntry(
        field,
        check_threshold(row.get("threshold")),
        when_ms=when_ms if isinstance(when_ms, int) else 0,
        was=was if isinstance(was, float) else None,
        **{name: str(row.get(name) or "")[:_MAX_TEXT] for name in _TEXTS},
    )


def readable(rows: Mapping[str, bytes]) -> dict[str, ThresholdEntry]:
    """Return the entries that ``decode`` can read, by field; others are ignored."""
    found = {}
    for field, blob in rows.items():
        with suppress(ConfigError):
            found[field] = decode(field, blob)
    return found


def check_bounds(threshold: float, floor: float) -> float:
    """Return ``threshold``, or raise ``ConfigError`` when it is no similarity or below the operator's floor."""
    value = check_threshold(threshold)
    if value < floor:
        raise ConfigError(f"threshold {value:g} is below the floor {floor:g}, see NEARHIT_THRESHOLD_FLOOR")
    return value


def read(rows: Mapping[str, bytes], rules: Rules, floor: float) -> Table:
    """Return the rules that entries ask for, none of them below the floor.

    Args:
        rows: the entries as they are stored, by field; nothing in them is trusted.
        rules: of this process, for all but the threshold.
        floor: of the operator of this process.
    """
    made: dict[str, Rules] = {}
    refused: dict[str, str] = {}
    for field, blob in rows.items():
        try:
            entry = decode(field, blob)
        except ConfigError:
            refused[field] = "unreadable"
            continue
        if entry.threshold < floor:
            refused[field] = "below_floor"
        made[field] = replace(rules, threshold=max(floor, entry.threshold), origin=field, since_ms=entry.when_ms)
    return Table(made, refused)


def in_force(table: Mapping[str, Rules], scope: str, tenant: str, otherwise: Rules) -> Rules:
    """Return the rules for a scope: its own, else its tenant's, else the namespace's, else ``otherwise``."""
    if not table:
        return otherwise
    own = table.get(scope_field(scope)) or (table.get(tenant_field(tenant)) if tenant else None)
    return own or table.get(NAMESPACE) or otherwise
