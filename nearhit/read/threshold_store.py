"""Threshold store: the thresholds of a namespace, a small hash on the log's server, which evicts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.domain.threshold_table import MAX_ENTRIES, encode
from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.flow.steps import Flow, ReplyError, Send

if TYPE_CHECKING:
    from nearhit.domain.threshold_table import ThresholdEntry
    from nearhit.valkey.key_names import LogKeys

# one step, so that of two who change an entry at once the second sees what the first has made of it
_CHANGE = """
local there = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if there ~= ARGV[2] then return 0 end
if there == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


def rows(keys: LogKeys) -> Flow[dict[str, bytes]]:
    """Return all entries of a namespace as they are stored, by field.

    Raises:
        StoreUnavailableError: the log's server does not answer or refuses.
    """
    reply = (yield Send((("HGETALL", keys.thresholds),), "thresholds"))[0]
    if isinstance(reply, ReplyError):
        raise _refused(keys, reply)
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {field.decode(errors="replace"): blob for field, blob in pairs}


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
    words = (entry.field, before or b"", encode(entry), MAX_ENTRIES)
    reply = (yield Send((("EVAL", _CHANGE, 1, keys.thresholds, *words),), "thresholds"))[0]
    if isinstance(reply, ReplyError):
        raise _refused(keys, reply)
    if reply == -1:
        raise ConfigError(f"namespace {keys.namespace!r} has {MAX_ENTRIES} thresholds already: unset some")
    return bool(reply)


def remove(keys: LogKeys, field: str) -> Flow[bool]:
    """Remove an entry; return whether there was one.

    Raises:
        StoreUnavailableError: the log's server does not answer or refuses.
    """
    reply = (yield Send((("HDEL", keys.thresholds, field),), "thresholds"))[0]
    if isinstance(reply, ReplyError):
        raise _refused(keys, reply)
    return bool(reply)


def _refused(keys: LogKeys, reply: ReplyError) -> StoreUnavailableError:
    return StoreUnavailableError(f"{keys.thresholds}: {reply.kind}: {reply.text}")
