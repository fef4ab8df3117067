"""Export: yields cached entries as rows that ``load`` can read."""

from __future__ import annotations

import base64
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain import entry
from nearhit.domain.entry import Entry
from nearhit.flow.steps import Flow, ask
from nearhit.valkey import entry_reader, keyspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit.valkey.key_names import CacheKeys


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which entries are wanted.

    Attributes:
        scope: hex digest of a scope; empty for all.
        tenant: hex digest of a tenant; empty for all.
        min_age_seconds: entries that are at least so old.
        max_age_seconds: entries that are at most so old; 0 for any age.
        vectors: with their vectors.
    """

    scope: str = ""
    tenant: str = ""
    min_age_seconds: float = 0.0
    max_age_seconds: float = 0.0
    vectors: bool = False

    def wants(self, found: Entry, now: float) -> bool:
        """Return whether an entry is wanted."""
        age = now - found.created_us / 1e6
        return (
            (not self.scope or found.scope == self.scope)
            and (not self.tenant or found.tenant == self.tenant)
            and age >= self.min_age_seconds
            and (not self.max_age_seconds or age <= self.max_age_seconds)
            and found.expires_ms > now * 1000
        )


def exported(run: Callable[[Flow[Any]], Any], keys: CacheKeys, chosen: Chosen) -> Iterator[dict[str, Any]]:
    """Yield the entries that are wanted, as rows of JSON; memory for one step of SCAN, however many there are.

    A row has ``prompt``, ``answer``, ``scope_digest``, ``tenant_digest``, ``ttl_seconds`` (what is left of it),
    ``age_seconds``, where known ``usage`` and ``refresh``, and with ``vectors`` also ``vector`` in base64 and
    ``embedder``. An entry that is written while the export runs may or may not be in it.

    Args:
        run: runs a flow against the cache server.
        keys: names of the namespace and embedder.
        chosen: which entries.
    """
    for names in keyspace.pages(lambda command: run(ask(command)), keyspace.under(keys.prefix)):
        found = run(entry_reader.read(names, vectors=chosen.vectors))
        now = time.time()
        # what has ended meanwhile or is unreadable is left out: a lookup would not serve it either
        yield from (row_of(one, now) for one in found if isinstance(one, Entry) and chosen.wants(one, now))


def row_of(found: Entry, now: float) -> dict[str, Any]:
    """Return an entry as a row of JSON."""
    row: dict[str, Any] = {
        "prompt": found.prompt,
        "answer": entry.decode_response(found.response),
        "scope_digest": found.scope,
        "tenant_digest": found.tenant,
        "ttl_seconds": round(found.expires_ms / 1000 - now, 3),
        "age_seconds": round(now - found.created_us / 1e6, 3),
    }
    if found.usage is not None:
        row["usage"] = asdict(found.usage)
    if found.refresh:
        row["refresh"] = entry.decode_response(found.refresh)
    if found.embedding:
        row["vector"] = base64.b64encode(found.embedding).decode()
        row["embedder"] = found.embedder
    return row
