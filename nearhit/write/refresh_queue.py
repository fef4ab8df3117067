"""Refresh queue: asks workers to refresh entries that are stale, while their answers are still served.

reader: stale hit ─▶ one message in the refresh log, however many readers and hits ─▶ worker: the entry's recipe ─▶ the
model, through LiteLLM ─▶ the entry, written anew.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, msgpack

from nearhit.domain.fill_message import FIELD, refuse_newer
from nearhit.errors import MessageError, StoreUnavailableError
from nearhit.flow.steps import accepted
from nearhit.resilience.background import EachItem
from nearhit.resilience.per_process import PerProcess
from nearhit.valkey import server_scripts
from nearhit.write import fill_log

if TYPE_CHECKING:
    from nearhit.flow.ports import Link
    from nearhit.flow.steps import Command
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys
    from nearhit.write.wakeup import WakeUp

LANE = "refresh"
VERSION: Literal[1] = 1

AGAIN_MS = 30_000
"""How long one refresh message stands for all stale hits of its entry."""

_MOST_WAITING = 256
_SECONDS = 2.0


class _Request(Struct):
    """What a refresh message holds: a version and an entry's key."""

    v: Literal[1]
    k: str


def encode_request(key: str) -> bytes:
    """Return the message that asks for a refresh of the entry at ``key``; it holds neither prompt nor answer."""
    return msgpack.encode(_Request(VERSION, key))


def decode_request(blob: bytes) -> str:
    """Return the entry's key.

    Raises:
        MessageError: it is something else.
    """
    try:
        return msgpack.decode(blob, type=_Request).k
    except (ValueError, RecursionError) as error:
        refuse_newer(blob, VERSION)
        raise MessageError(f"the refresh of {len(blob)} bytes is not of version {VERSION}: {error}") from error


def request(keys: LogKeys, key: str, queued_ms: int) -> Command:
    """Return the command that asks for a refresh of an entry unless that was asked for a moment ago."""
    flag = keys.refreshing(hashlib.sha256(key.encode()).hexdigest()[:32])
    fields = (FIELD, encode_request(key), fill_log.TRIES, 0, fill_log.QUEUED, queued_ms)
    return server_scripts.append_once(flag, AGAIN_MS, keys.log(LANE), fields)


class Refreshes(EachItem[str]):
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
        self._next_ask: PerProcess[dict[str, float]] = PerProcess(dict)
        super().__init__("nearhit-refresh", _MOST_WAITING)

    def ask(self, key: str) -> None:
        """Ask for a refresh of the entry at ``key``; returns at once and never raises."""
        next_ask = self._next_ask.get()
        now = time.monotonic()
        if now < next_ask.get(key, 0.0):
            return
        if len(next_ask) >= _MOST_WAITING:
            for one, due in list(next_ask.items()):
                if due <= now:
                    next_ask.pop(one, None)
        if len(next_ask) >= _MOST_WAITING:
            return  # so many entries wait already; this one is asked for at a later hit
        next_ask[key] = now + AGAIN_MS / 1000  # two threads that meet here ask twice, and the server takes one
        if not self._thread.put(key):
            next_ask.pop(key, None)

    def handle(self, item: str) -> None:
        """Send the request for a refresh of the entry at a key."""
        try:
            command = request(self._keys, item, time.time_ns() // 1_000_000)
            added = accepted(self._link.send((command,), _SECONDS)[0], self._keys.log(LANE))
        except StoreUnavailableError as error:
            self._metrics.count_error("refresh", error)
            self._next_ask.get()[item] = time.monotonic() + 1.0
        else:
            if added:
                self._wakeup.notify(LANE)
