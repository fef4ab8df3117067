"""Refresh: asks the model again for an entry whose soft time to live has passed, while its answer is still served.

reader: stale hit ─▶ one message in the refresh log, however many readers and hits ─▶ worker: the entry's recipe ─▶ the
model, through LiteLLM ─▶ the entry, written anew.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from typing import TYPE_CHECKING

import msgpack

from nearhit import filllog
from nearhit.embedding.per_process import PerProcess
from nearhit.errors import MessageError, StoreUnavailableError
from nearhit.flow import ReplyError
from nearhit.message import FIELD

if TYPE_CHECKING:
    from nearhit.flow import Command
    from nearhit.keys import LogKeys
    from nearhit.link import Link
    from nearhit.metrics import Metrics
    from nearhit.wakeup import WakeUp

LANE = "refresh"
VERSION = 1

AGAIN_MS = 30_000
"""How long one refresh message stands for all stale hits of its entry."""

_MOST_WAITING = 256
_SECONDS = 2.0

_REQUEST = """
if not redis.call('SET', KEYS[1], 1, 'NX', 'PX', ARGV[1]) then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
return 1
"""


def encode_request(key: str) -> bytes:
    """Return the message that asks for a refresh of the entry at ``key``; it holds neither prompt nor answer."""
    blob: bytes = msgpack.packb({"v": VERSION, "k": key})
    return blob


def decode_request(blob: bytes) -> str:
    """Return the entry's key.

    Raises:
        MessageError: it is something else.
    """
    try:
        row = msgpack.unpackb(blob)
    except (ValueError, msgpack.UnpackException) as error:
        raise MessageError(f"the refresh of {len(blob)} bytes is not msgpack: {error}") from error
    if not isinstance(row, dict) or row.get("v") != VERSION or not isinstance(row.get("k"), str):
        raise MessageError(f"the refresh of {len(blob)} bytes has no key or another version than {VERSION}")
    key: str = row["k"]
    return key


def request(keys: LogKeys, key: str, queued_ms: int) -> Command:
    """Return the command that asks for a refresh of an entry unless that was asked for a moment ago."""
    flag = keys.refreshing(hashlib.sha256(key.encode()).hexdigest()[:32])
    fields = (FIELD, encode_request(key), filllog.TRIES, 0, filllog.QUEUED, queued_ms)
    return ("EVAL", _REQUEST, 2, flag, keys.log(LANE), AGAIN_MS, *fields)


class Refreshes:
    """Asks workers to refresh entries, from a thread of its own: a stale hit costs its reader a microsecond.

    Thread-safe and fork-safe. What cannot be sent is dropped and counted; the next stale hit asks again.

    Args:
        keys: names of the log.
        link: a blocking way to the log's server.
        wakeup: how a worker is told.
        metrics: where failures are counted.
    """

    def __init__(self, keys: LogKeys, link: Link, wakeup: WakeUp, metrics: Metrics) -> None:
        self._keys = keys
        self._link = link
        self._wakeup = wakeup
        self._metrics = metrics
        self._state = PerProcess(_State)

    def ask(self, key: str) -> None:
        """Ask for a refresh of the entry at ``key``; returns at once and never raises."""
        state = self._state.get()
        now = time.monotonic()
        if now < state.next_ask.get(key, 0.0):
            return
        with state.lock:
            if now < state.next_ask.get(key, 0.0):
                return
            if len(state.next_ask) >= _MOST_WAITING:
                state.next_ask = {one: due for one, due in state.next_ask.items() if now < due}
            if len(state.next_ask) >= _MOST_WAITING:
                return  # so many entries wait already; this one is asked for at a later hit
            state.next_ask[key] = now + AGAIN_MS / 1000
            if state.thread is None:
                state.thread = threading.Thread(target=self._run, args=(state,), name="nearhit-refresh", daemon=True)
                state.thread.start()
        state.waiting.put(key)

    def close(self) -> None:
        """Send what is waiting, within a moment, and stop the thread."""
        state = self._state.get()
        if state.thread is not None:
            state.waiting.put("")
            state.thread.join(_SECONDS)

    def _run(self, state: _State) -> None:
        while key := state.waiting.get():
            try:
                added = self._send(key)
            except StoreUnavailableError as error:
                self._metrics.count_error("refresh", error)
                state.next_ask[key] = time.monotonic() + 1.0
            else:
                if added:
                    self._wakeup.notify(LANE)

    def _send(self, key: str) -> bool:
        reply = self._link.send((request(self._keys, key, time.time_ns() // 1_000_000),), _SECONDS)[0]
        if isinstance(reply, ReplyError):
            raise StoreUnavailableError(f"{self._keys.log(LANE)}: {reply.kind}: {reply.text}")
        return bool(reply)


class _State:
    """What one process has: keys to be asked for, and when each may be asked for again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.next_ask: dict[str, float] = {}
        self.thread: threading.Thread | None = None
