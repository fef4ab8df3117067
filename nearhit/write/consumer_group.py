"""Consumer group: which workers still read a fill log, and which are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.flow.steps import Flow, ReplyError, Send, ask
from nearhit.valkey import server_scripts
from nearhit.valkey.replies import mapping
from nearhit.write.fill_log import GROUP, WAKE_MS

if TYPE_CHECKING:
    from nearhit.valkey.key_names import LogKeys

FORGET_MS = 86_400_000
"""How long a worker's name stays in the group after its last word."""


def waiting(keys: LogKeys, lane: str) -> Flow[bytes | None]:
    """Return the id of the last fill that a worker took, while there are fills that none has; else ``None``."""
    log = keys.log(lane)
    groups, length, pending = yield Send((("XINFO", "GROUPS", log), ("XLEN", log), ("XPENDING", log, GROUP)))
    if not isinstance(groups, list) or not isinstance(length, int) or length <= _in_work(pending):
        return None
    rows = map(mapping, groups)
    return next((bytes(row[b"last-delivered-id"]) for row in rows if row[b"name"] == GROUP.encode()), None)


def wants_help(keys: LogKeys, lane: str) -> Flow[bool]:
    """Return whether the caller is the one to wake another worker for fills that no worker has."""
    length, pending = yield Send((("XLEN", keys.log(lane)), ("XPENDING", keys.log(lane), GROUP)))
    if not isinstance(length, int) or length <= _in_work(pending):
        return False
    reply = yield from ask(("SET", keys.wake(lane), 1, "NX", "PX", WAKE_MS))
    return reply is not None and not isinstance(reply, ReplyError)


def _in_work(pending: Any) -> int:
    """Return how many fills workers have, by a reply to XPENDING; 0 where the server does not say."""
    return int(pending[0]) if isinstance(pending, list) and pending else 0


def forget_consumers(keys: LogKeys, lane: str) -> Flow[int]:
    """Remove consumers from the group that have nothing in progress and were silent for a day; return how many."""
    reply = yield from ask(server_scripts.forget_consumers(keys.log(lane), GROUP, FORGET_MS))
    return 0 if isinstance(reply, ReplyError) else int(reply)
