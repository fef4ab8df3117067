"""Changes: the format of the change stream, which says only "this entry changed"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.errors import StoreUnavailableError
from nearhit.valkey.replies import first_stream, mapping

if TYPE_CHECKING:
    from nearhit.flow.steps import Command
    from nearhit.valkey.key_names import CacheKeys

KEY_FIELD = b"k"
INIT_FIELD = b"init"

MAX_CHANGES = 50_000
"""About how many changes the stream keeps: a replica that falls further behind loads everything again."""

LIFETIME_SECONDS = 3600
"""How long the stream outlives the last replica that asked for it; from then on a write appends nothing."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """Where the change stream stands.

    Attributes:
        last_id: the id of the newest change that it ever held.
        added: how many changes it ever held; trimming does not lower it.
    """

    last_id: bytes
    added: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Some consecutive changes.

    Attributes:
        last_id: the id of the last one.
        count: how many stream entries they were.
        keys: the entries that changed, each once, in order.
    """

    last_id: bytes
    count: int
    keys: list[bytes]


def changed(keys: CacheKeys, entry_key: str | bytes) -> Command:
    """Return the command that tells replicas of an entry written or removed; send it after the write.

    It appends nothing while there is no stream, that is while no replica asked for one.
    """
    return ("XADD", keys.changes, "NOMKSTREAM", "MAXLEN", "~", MAX_CHANGES, "*", KEY_FIELD, entry_key)


def opened(keys: CacheKeys) -> Command:
    """Return the command by which a replica makes the change stream."""
    return ("XADD", keys.changes, "MAXLEN", "~", MAX_CHANGES, "*", INIT_FIELD, b"1")


def kept(keys: CacheKeys) -> Command:
    """Return the command by which a replica says that it still reads the change stream."""
    return ("EXPIRE", keys.changes, LIFETIME_SECONDS)


def described(keys: CacheKeys) -> Command:
    """Return the command whose reply ``parse_state`` reads."""
    return ("XINFO", "STREAM", keys.changes)


def read(keys: CacheKeys, after_id: bytes, *, count: int, block_ms: int | None = None) -> Command:
    """Return the command whose reply ``parse_changes`` reads; ``None`` does not wait for changes."""
    wait: Command = () if block_ms is None else ("BLOCK", block_ms)
    return ("XREAD", "COUNT", count, *wait, "STREAMS", keys.changes, after_id)


def parse_state(reply: Any) -> StreamState:
    """Return where the stream stands, from an XINFO STREAM reply as a RESP2 list or a RESP3 map.

    Raises:
        StoreUnavailableError: the reply is something else.
    """
    fields = mapping(reply)
    try:
        return StreamState(last_id=bytes(fields[b"last-generated-id"]), added=int(fields[b"entries-added"]))
    except KeyError as error:
        raise StoreUnavailableError(
            f"XINFO STREAM says no {error.args[0].decode()}: the local engine needs Valkey 7.2 or later"
        ) from error


def parse_changes(reply: Any) -> Changes | None:
    """Return the changes of an XREAD reply; ``None`` when there are none.

    RESP2 answers with a list of [stream, entries] pairs, RESP3 with a map; no news is nil in both.
    """
    entries = first_stream(reply)
    if not entries:
        return None
    keys: dict[bytes, None] = {}
    for _, fields in entries:
        keys.update((bytes(value), None) for name, value in mapping(fields).items() if name == KEY_FIELD)
    return Changes(last_id=bytes(entries[-1][0]), count=len(entries), keys=list(keys))


def id_order(stream_id: bytes) -> tuple[int, int]:
    """Return a value that orders stream ids as the server does."""
    milliseconds, _, sequence = stream_id.partition(b"-")
    return int(milliseconds), int(sequence or 0)
