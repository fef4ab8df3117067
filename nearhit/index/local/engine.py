"""Local engine: the nearest entries from this process's replica, checked against the server."""

from __future__ import annotations

import math
import os
import time
import weakref
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nearhit.domain import entry
from nearhit.domain.neighbour import Neighbour
from nearhit.errors import ConfigError, StoreUnavailableError, UnavailableError
from nearhit.flow.steps import ReplyError, Send
from nearhit.index.local.follower import Follower
from nearhit.index.local.replica import read_milliseconds, read_vector
from nearhit.valkey.packed_command import CommandTemplate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import redis
    from numpy.typing import NDArray

    from nearhit.flow.steps import Flow
    from nearhit.valkey.key_names import CacheKeys

MAX_ENTRIES = 100_000

_FETCH = CommandTemplate("HMGET", None, *entry.READ_FIELDS, entry.EMBEDDING)
_SPARE = 3
"""Entries looked up beside those asked for; read where one of those is gone or has changed on the server."""

_STOP_SECONDS = 5.0
_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """How this process's replica is.

    Attributes:
        entries: entries it holds.
        ready: whether it serves.
        lag_seconds: for how long it has been behind the server, as far as it knows; 0 when caught up; ``nan`` where
            nobody follows the server any more.
        bootstraps: how often everything was loaded, by reason (see ``Follower``).
        memory_bytes: its arrays; keys and directory come on top, about 250 bytes an entry.
        left_out: how often an entry found no room since the last load. Above 0: use the valkey-search engine,
            spread the cache over namespaces, or raise ``max_entries``.
        skipped: how often an entry could not be read since the last load.
        error: why the server is not reached; empty when it is.
    """

    entries: int
    ready: bool
    lag_seconds: float
    bootstraps: dict[str, int]
    memory_bytes: int
    left_out: int
    skipped: int
    error: str


class LocalEngine:
    """Finds the nearest entries with a replica of the index in this process; an ``Engine`` for any thread.

    The first search or ``wait_ready`` starts a thread that loads and follows the entries; a forked child
    starts its own. Until the first load is done a search raises ``UnavailableError`` at once.

    Args:
        keys: names on the server.
        dimension: of the vectors.
        connect: makes a client with a pool of its own for the replica's thread, for bytes (no
            ``decode_responses``).
        max_entries: bound of the replica; 100k entries of 384 dimensions take about 110 MB.
        now_seconds: the clock by which entries end.
    """

    name = "local"
    backfilling = False
    quick = None

    def __init__(
        self,
        keys: CacheKeys,
        dimension: int,
        connect: Callable[[], redis.Redis],
        *,
        max_entries: int = MAX_ENTRIES,
        now_seconds: Callable[[], float] = time.time,
    ) -> None:
        if dimension < 1:
            raise ConfigError(f"dimension {dimension} must be at least 1")
        if max_entries < 1:
            raise ConfigError(f"max_entries {max_entries} must be at least 1")
        self._keys = keys
        self._dimension = dimension
        self._connect = connect
        self._max_entries = max_entries
        self._now_seconds = now_seconds
        self._followers: dict[int, Follower] = {}
        self._closed = False
        weakref.finalize(self, _end, self._followers).atexit = False

    def search(
        self,
        scope: str,
        vector: NDArray[np.float32],
        k: int,
        candidates: int = 0,  # noqa: ARG002 - the port's signature
    ) -> Flow[list[Neighbour]]:
        """Return up to ``k`` entries of ``scope``, nearest first, for a ``(dim,) float32`` unit vector.

        An entry of similarity 0.5 or more is never left out (but for one in ten million); below that the
        nearest are approximate in scopes of more than 512 entries. The similarities and fields are the
        server's, not the replica's.

        Raises:
            UnavailableError: the replica is still loading, or the engine was closed.
            StoreUnavailableError: the server does not answer, or refuses to.
        """
        follower = self._started()
        replica = follower.replica
        if replica is None:
            if follower.error:
                raise UnavailableError(f"the replica cannot be loaded: {follower.error}")
            far = f": {follower.loaded} of about {follower.expected} entries" if follower.expected else ""
            raise UnavailableError(f"the replica is still loading{far}")
        found = replica.nearest(scope, vector, k + _SPARE, self._now_ms())
        neighbours = yield from self._read_all(found[:k], scope, vector)
        differing = _differing(found, neighbours)
        if differing and len(found) > k:
            neighbours += yield from self._read_all(found[k:], scope, vector)
            differing = _differing(found, neighbours)
        follower.recheck(differing)
        return sorted(filter(None, neighbours), key=lambda one: -one.similarity)[:k]

    def prepare(self) -> Flow[bool]:
        """Return False: there is no index on the server, and the change stream is made by those who read it."""
        yield from ()
        return False

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Return whether the replica serves, after waiting for its first load up to ``timeout_seconds``."""
        return not self._closed and self._started().ready.wait(timeout_seconds)

    def stats(self) -> ReplicaStats:
        """Return how this process's replica is; starts nothing. One of a closed engine follows the server no more."""
        follower = self._followers.get(os.getpid()) or self._make()
        replica = follower.replica
        return ReplicaStats(
            entries=0 if replica is None else len(replica),
            ready=replica is not None and not self._closed,
            lag_seconds=math.nan if self._closed else follower.lag_seconds,
            bootstraps=dict(follower.bootstraps),
            memory_bytes=0 if replica is None else replica.nbytes,
            left_out=0 if replica is None else replica.left_out,
            skipped=0 if replica is None else replica.skipped,
            error=follower.error,
        )

    def close(self, timeout_seconds: float = _STOP_SECONDS) -> None:
        """Stop the replica's thread for good and wait for its end, not longer than the timeout."""
        self._closed = True
        follower = self._followers.get(os.getpid())
        if follower is not None:
            follower.stop(timeout_seconds)

    def _started(self) -> Follower:
        """Return this process's follower; a thread does not survive a fork, so that a child makes its own."""
        if self._closed:
            raise UnavailableError("the local engine was closed")
        pid = os.getpid()
        follower = self._followers.get(pid)
        if follower is None:
            follower = self._followers.setdefault(pid, self._make())  # atomic: a lock may be held across a fork
            for other in [known for known in list(self._followers) if known != pid]:
                self._followers.pop(other, None)
        follower.ensure_started()
        return follower

    def _make(self) -> Follower:
        now_ms = partial(_milliseconds, self._now_seconds)  # not a method: the thread must not hold the engine
        return Follower(self._keys, self._dimension, self._max_entries, self._connect, now_ms)

    def _now_ms(self) -> int:
        return _milliseconds(self._now_seconds)

    def _read_all(
        self, found: Sequence[tuple[bytes, float]], scope: str, vector: NDArray[np.float32]
    ) -> Flow[list[Neighbour | None]]:
        """Return what the server holds of entries, in order."""
        if not found:
            return []
        replies = yield Send(tuple([_FETCH.fill(key) for key, _ in found]), "search")
        return [self._read(key, scope, vector, reply) for (key, _), reply in zip(found, replies, strict=True)]

    def _read(self, key: bytes, scope: str, vector: NDArray[np.float32], reply: Any) -> Neighbour | None:
        """Return the entry as the server holds it; ``None`` when it is gone, over or of another scope."""
        if isinstance(reply, ReplyError) and not reply.text.startswith("WRONGTYPE"):
            raise StoreUnavailableError(f"the server refuses HMGET: {reply.text}")
        if not isinstance(reply, list):
            return None
        *values, blob = reply
        fields = entry.named(values)
        current = read_vector(blob, self._dimension)
        expires_ms = read_milliseconds(fields.get(entry.EXPIRES))
        if current is None or expires_ms is None or fields.get(entry.SCOPE) != scope.encode():
            return None
        if expires_ms <= self._now_ms():
            return None
        similarity = max(-1.0, min(1.0, float(vector @ current)))  # np.clip takes 5 µs for it
        return Neighbour(key=key, similarity=similarity, fields=fields)


def _milliseconds(now_seconds: Callable[[], float]) -> int:
    return int(1000 * now_seconds())


def _end(followers: dict[int, Follower]) -> None:
    """End this process's thread of an engine that was dropped."""
    follower = followers.get(os.getpid())
    if follower is not None:
        follower.end()


def _differing(found: Sequence[tuple[bytes, float]], neighbours: Sequence[Neighbour | None]) -> list[bytes]:
    """Return the keys of those entries that were read, and that the server holds otherwise than the replica."""
    return [
        key
        for (key, similarity), neighbour in zip(found, neighbours, strict=False)
        if neighbour is None or abs(neighbour.similarity - similarity) > _ROUNDING
    ]
