"""Follower: the thread that loads a replica and follows the change stream."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from nearhit.errors import NearhitError, StoreUnavailableError
from nearhit.flow.steps import ReplyError, accepted
from nearhit.index.local import changes
from nearhit.index.local.codes import Codes
from nearhit.index.local.replica import Replica
from nearhit.resilience.background import Background, Inbox
from nearhit.valkey import keyspace, server_info
from nearhit.valkey.link import link_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import redis

    from nearhit.flow.ports import Link
    from nearhit.flow.steps import Command
    from nearhit.valkey.key_names import CacheKeys

_log = logging.getLogger(__name__)

READ_COUNT = 1000
CHECK_SECONDS = 0.5
FIRST_BACKOFF_SECONDS = 0.05
LAST_BACKOFF_SECONDS = 2.0
BLOCK_MS = 250
"""How long a read waits for changes: short, so that the thread can be stopped."""

_SECONDS = 5.0


class Follower:
    """Keeps a replica of the entries from a thread of its own.

    It loads all entries, then reads the change stream, and twice a second compares notes with the server.
    When the two cannot be reconciled it loads everything again, aside, while the old replica serves.

    Args:
        keys: names on the server.
        dimension: of the vectors.
        max_entries: bound of the replica.
        connect: makes a client; it is used by the thread alone and closed by it.
        now_ms: the clock by which entries end, in milliseconds since the epoch.

    Attributes:
        ready: set once the first load is complete.
        bootstraps: loads by reason: ``start``; ``gap`` (changes were trimmed unread), ``stream-lost``
            (deleted, or the server was flushed), ``server-changed`` (restarted or replaced), ``rewound`` (an
            older snapshot), ``room`` (entries left out fit now).
        loaded: entries of the load that is under way.
        expected: about how many it will be.
        error: why the server was not reached the last time; empty when it is.
    """

    def __init__(
        self,
        keys: CacheKeys,
        dimension: int,
        max_entries: int,
        connect: Callable[[], redis.Redis],
        now_ms: Callable[[], int],
    ) -> None:
        self._keys = keys
        self._dimension = dimension
        self._max_entries = max_entries
        self._connect = connect
        self._now_ms = now_ms
        self._thread: Background[None] = Background("nearhit-replica", self._run)
        self._suspects: deque[bytes] = deque(maxlen=READ_COUNT)
        self._codes: Codes | None = None
        self._link: Link
        self._run_id = ""
        self._state = changes.StreamState(b"0-0", 0)
        self._behind_since: float | None = time.monotonic()
        self.replica: Replica | None = None
        self.ready = threading.Event()
        self.bootstraps: Counter[str] = Counter()
        self.loaded = 0
        self.expected = 0
        self.error = ""

    @property
    def lag_seconds(self) -> float:
        """For how long the replica has been behind the server, as far as it knows; 0 when caught up."""
        since = self._behind_since
        return 0.0 if since is None else time.monotonic() - since

    def ensure_started(self) -> None:
        """Start the thread unless it runs or was stopped; where the machine gives none, the next call tries again."""
        if not self._thread.start() and not self._thread.closed:
            self.error = "no thread can be started"

    def stop(self, timeout_seconds: float) -> None:
        """Stop the thread for good and wait for its end, not longer than the timeout."""
        self.end()
        self._thread.join(timeout_seconds)

    def end(self) -> None:
        """Stop the thread for good without waiting for it."""
        self._thread.end()

    def recheck(self, keys: Iterable[bytes]) -> None:
        """Have entries read again soon, as they were met in another state than the replica's."""
        self._suspects.extend(keys)

    def _run(self, inbox: Inbox[None]) -> None:
        self._codes = self._codes or Codes(self._dimension)
        backoff_seconds = FIRST_BACKOFF_SECONDS
        while not self._thread.closed:
            try:
                self._link = link_for(self._connect())
                try:
                    self._follow()
                finally:
                    self._link.close()
            except NearhitError as error:
                if not self.error:
                    _log.warning("the local replica lost its server", extra={"action": "replica_lost"})
                    backoff_seconds = FIRST_BACKOFF_SECONDS
                self.error = str(error)
                self._mark_behind()
                inbox.take(backoff_seconds)
                backoff_seconds = min(2 * backoff_seconds, LAST_BACKOFF_SECONDS)

    def _follow(self) -> None:
        while not self._thread.closed:
            reason = self._difference()
            if reason:
                self._load(reason)
            self.error = ""
            until = time.monotonic() + CHECK_SECONDS
            while time.monotonic() < until and not self._thread.closed:
                command = changes.read(self._keys, self._state.last_id, count=READ_COUNT, block_ms=BLOCK_MS)
                self._absorb(changes.parse_changes(self._call(command)))
            if self.replica is not None:
                self.replica.drop_expired(self._now_ms())

    def _difference(self) -> str:
        """Return why the replica cannot continue, or an empty string."""
        if self.replica is None:
            return "start"
        commands = (
            ("MULTI",),  # so that all replies are of one moment
            ("INFO", "server"),
            changes.read(self._keys, self._state.last_id, count=READ_COUNT),
            changes.described(self._keys),
            changes.kept(self._keys),
            ("EXEC",),
        )
        info, news, described, _ = accepted(self._link.send(commands, _SECONDS)[-1], "EXEC")
        if _run_id(info) != self._run_id:
            return "server-changed"
        if isinstance(described, ReplyError):
            return "stream-lost"
        state = changes.parse_state(described)
        if changes.id_order(state.last_id) < changes.id_order(self._state.last_id):
            return "rewound"
        batch = changes.parse_changes(news)
        self._absorb(batch)
        if (batch is None or batch.count < READ_COUNT) and state.added != self._state.added:
            return "gap"
        return "room" if self.replica.has_room_again else ""

    def _absorb(self, batch: changes.Changes | None) -> None:
        """Apply changes and met differences, then move on in the stream."""
        suspects = [self._suspects.popleft() for _ in range(len(self._suspects))]
        keys = list(dict.fromkeys([*suspects, *(batch.keys if batch else ())]))
        if keys and self.replica is not None:
            self._mark_behind()
            self._refresh(self.replica, keys)
        if batch is not None:
            self._state = changes.StreamState(batch.last_id, self._state.added + batch.count)
        if batch is None or batch.count < READ_COUNT:
            self._behind_since = None

    def _load(self, reason: str) -> None:
        """Build a replica of all entries aside, and take it in the place of the one there is."""
        if self._codes is None:
            return
        self._mark_behind()
        run_id = _run_id(self._call(("INFO", "server")))
        looking = (changes.described(self._keys), changes.kept(self._keys))
        described = self._link.send(looking, _SECONDS)[0]
        if isinstance(described, ReplyError):
            described = self._link.send((changes.opened(self._keys), *looking), _SECONDS)[1]
        # taken before the scan: what changes during it is read afterwards
        state = changes.parse_state(accepted(described, "the change stream cannot be made"))
        replica = Replica(self._codes, self._keys.prefix, self._max_entries)
        self.loaded, self.expected = 0, int(self._call(("DBSIZE",)))
        for keys in keyspace.pages(self._call, keyspace.under(self._keys.prefix)):
            if self._thread.closed:
                raise StoreUnavailableError("the load was stopped")
            if replica.full:
                replica.leave_out(len(keys))
            else:
                self._refresh(replica, keys)
            self.loaded = len(replica)
        self._run_id, self._state, self.replica = run_id, state, replica
        news = self._call(changes.read(self._keys, state.last_id, count=READ_COUNT))
        self._absorb(changes.parse_changes(news))
        self.bootstraps[reason] += 1
        self.ready.set()
        extra = {"action": "replica_loaded", "reason": reason, "entries": len(replica)}
        _log.info("the local replica is loaded", extra=extra)

    def _refresh(self, replica: Replica, keys: Sequence[bytes]) -> None:
        if keys:
            replica.apply(keys, self._link.send([replica.fetch(key) for key in keys], _SECONDS))

    def _call(self, command: Command) -> Any:
        return accepted(self._link.send((command,), _SECONDS)[0], str(command[0]))

    def _mark_behind(self) -> None:
        if self._behind_since is None:
            self._behind_since = time.monotonic()


def _run_id(info: Any) -> str:
    """Return the ``run_id`` of an INFO reply, which changes with every start of a server.

    Raises:
        StoreUnavailableError: it has none.
    """
    found = server_info.parse(info).get("run_id")
    if not found:
        raise StoreUnavailableError(f"INFO says no run_id: {str(info)[:80]!r}")
    return found
