"""Threshold store: the thresholds of a namespace, a small hash on the log's server, which evicts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.domain.threshold_table import MAX_ENTRIES, encode
from nearhit.errors import ConfigError
from nearhit.flow.steps import Flow, accepted, ask
from nearhit.valkey import server_scripts
from nearhit.valkey.replies import mapping

if TYPE_CHECKING:
    from nearhit.domain.threshold_table import ThresholdEntry
    from nearhit.valkey.key_names import LogKeys


def rows(keys: LogKeys) -> Flow[dict[str, bytes]]:
    """Return all entries of a namespace as they are stored, by field.

    Raises:
        StoreUnavailableError: the log's server does not answer or refuses.
    """
    reply = accepted((yield from ask(("HGETALL", keys.thresholds), "thresholds")), keys.thresholds)
    return {field.decode(errors="replace"): blob for field, blob in mapping(reply).items()}


def change(keys: LogKeys, entry: ThresholdEntry, before: bytes | None) -> Flow[bool]:
    """Write an entry unless it was changed since it was read; return whether it was written.

    Args:
        keys: names on the log's server.
        entry: what to write.
        before: the entry as it was read; ``None`` when there was none.

    Raises:
        ConfigError: the namespace has as many entries as it may have.
        StoreUnavailableError: the log's server does not answer or refuses.
    """
    command = server_scripts.change_field(keys.thresholds, entry.field, before or b"", encode(entry), MAX_ENTRIES)
    reply = accepted((yield from ask(command, "thresholds")), keys.thresholds)
    if reply == -1:
        raise ConfigError(f"namespace {keys.namespace!r} has {MAX_ENTRIES} thresholds already: unset some")
    return bool(reply)


def remove(keys: LogKeys, field: str) -> Flow[bool]:
    """Remove an entry; return whether there was one.

    Raises:
        StoreUnavailableError: the log's server does not answer or refuses.
    """
    return bool(accepted((yield from ask(("HDEL", keys.thresholds, field), "thresholds")), keys.thresholds))
