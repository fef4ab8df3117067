"""Drain: empties a lane of the fill log in batches, and keeps other workers from claiming what is in progress."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from nearhit.errors import NearhitError
from nearhit.write import fill_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nearhit.flow.runner import Runner
    from nearhit.index.space import Space
    from nearhit.valkey.key_names import LogKeys
    from nearhit.write.fill_log import Logged, Silent

log = logging.getLogger("nearhit")

_SECONDS = 10.0
_YIELD_SECONDS = 0.25
"""How long a bulk batch waits at most for users' fills before it continues: bulk is then slow, but never stops."""

_USERS_SECONDS = 1.0
"""For how long after users' fills bulk work rests between its batches."""

DRAIN_SECONDS = 10.0
"""How long one drain works on a lane that does not become empty; the timer begins another. A task that runs for
minutes would outlive its broker's visibility timeout, and could not be stopped in time."""

MAX_BATCH_BYTES = 8 * 1024 * 1024
"""Bytes after which a batch takes no more fills: the largest answer, or thousands of common ones. A worker holds a
batch a few times over while it decodes and writes it, and each of its threads has one."""

_AT_ONCE = 16
"""Fills in one read at most, since nobody knows how large those are that were not read yet."""

_TRUSTED_DELIVERIES = 1
"""A fill that was in one batch with a crash is tried in a batch once more; after a second crash it is tried alone."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """How fills are gathered into batches.

    Attributes:
        max_batch: fills in a batch.
        wait_seconds: how long a batch that is not full waits for more.
        claim_idle_ms: after how long a silent worker's fills are taken over.
        bulk_batch: fills in a batch of another lane than ``interactive``.
        keep_seconds: how long a batch may be in progress before its fills are left to other workers: the thread hangs.
    """

    max_batch: int = 64
    wait_seconds: float = 0.02
    claim_idle_ms: int = 15_000
    bulk_batch: int = 64
    keep_seconds: float = 300.0

    def size(self, lane: str) -> int:
        """Return how many fills of a lane make a full batch."""
        return self.max_batch if lane == "interactive" else min(self.max_batch, self.bulk_batch)


class Sink(Protocol):
    """Where batches go."""

    def write(self, rows: Sequence[Logged], lane: str, space: Space) -> int:
        """Do what each row asks for, or say in the log what else becomes of it; return how many were stored."""


@dataclass(slots=True)
class _Work:
    lane: str
    rows: list[Logged] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


class Drain:
    """Empties lanes. Thread-safe: several threads may drain one lane, each takes batches of its own.

    Args:
        runner: runs flows against the log's server.
        keys: names of the log.
        writer: stores a batch.
        space: gives the open space; may raise ``UnavailableError``.
        gathering: how batches are made.
        recruit: called with a lane whose batch was full: another thread or worker may help.
    """

    def __init__(
        self,
        runner: Runner,
        keys: LogKeys,
        writer: Sink,
        space: Callable[[], Space],
        gathering: Gathering,
        recruit: Callable[[str], None] | None = None,
    ) -> None:
        self._runner = runner
        self._keys = keys
        self._writer = writer
        self._space = space
        self._gathering = gathering
        self._recruit = recruit
        self._token = secrets.token_hex(4)
        self._lock = threading.Lock()
        self._works: dict[int, _Work] = {}
        self._sizes: dict[str, int] = {}
        self._users = 0  # batches of users' fills that are being written now
        self._users_at = -_USERS_SECONDS
        self._users_done = threading.Event()
        self._users_done.set()
        self._stopping = threading.Event()
        self.handled_at = time.monotonic()

    @property
    def consumer(self) -> str:
        """Name of this process in the consumer group."""
        return f"{socket.gethostname()}-{os.getpid()}-{self._token}"

    @property
    def longest_work_seconds(self) -> float:
        """How long the batch has been in progress that was begun first; 0 when there is none."""
        with self._lock:
            begun = [work.since for work in self._works.values()]
        return time.monotonic() - min(begun) if begun else 0.0

    def stop(self) -> None:
        """Let batches in progress be the last ones."""
        self._stopping.set()

    def run(self, lane: str) -> int:
        """Take batches until the lane is empty, or for ``DRAIN_SECONDS``; return how many fills were stored.

        Raises:
            UnavailableError: a server or the embedder does not answer; the timer comes again.
        """
        space = self._space()
        stored = 0
        self.promote(lane)
        end, took = time.monotonic() + DRAIN_SECONDS, 0.0
        while not self._stopping.is_set() and time.monotonic() < end:
            self._give_way(lane, took)
            began = time.monotonic()
            with self._working(lane) as rows:
                self._gather(lane, rows)
                if not rows:
                    break
                if self._recruit is not None and not self._room(lane, rows):
                    self._recruit(lane)
                stored += self._write(rows, lane, space)
            took = time.monotonic() - began
        return stored

    def take_over(self, lane: str) -> int:
        """Store what silent workers left behind; return how many fills were stored.

        A fill that two workers held when they fell silent may have killed them: it is claimed alone, so that no other
        fill is lost with it, and after those that are less suspect.
        """
        stored = 0
        idle, count = self._gathering.claim_idle_ms, self._gathering.size(lane)
        while not self._stopping.is_set():
            left = self._runner.run(fill_log.silent(self._keys, lane, idle, count), _SECONDS)
            if not left:
                break
            space = self._space()
            with self._working(lane) as rows:
                wanted = least_suspect(left)
                while wanted and (room := self._room(lane, rows)):  # the others stay where they are
                    some, wanted = wanted[:room], wanted[room:]
                    claimed = fill_log.claim(self._keys, lane, self.consumer, idle, some)
                    self._took(lane, rows, self._runner.run(claimed, _SECONDS))
                if not rows:
                    break  # another worker was first
                stored += self._write(rows, lane, space)
        return stored

    def promote(self, lane: str) -> int:
        """Put fills whose wait is over back into the lane; return how many."""
        now_ms = time.time_ns() // 1_000_000
        return self._runner.run(fill_log.promote(self._keys, lane, now_ms, 1000), _SECONDS)

    def keep_alive(self) -> None:
        """Tell the log that what is in progress here is not abandoned; to be called well within ``claim_idle_ms``."""
        now = time.monotonic()
        with self._lock:
            works = [work for work in self._works.values() if now - work.since < self._gathering.keep_seconds]
        for work in works:
            try:
                self._runner.run(fill_log.keep(self._keys, work.lane, self.consumer, list(work.rows)), _SECONDS)
            except NearhitError as error:  # at worst another worker does the same work again
                log.debug("keep-alive failed: %s", error, extra={"action": "keep_alive"})

    def _gather(self, lane: str, rows: list[Logged]) -> None:
        """Read a batch; one that is not full waits a moment for more fills to share its embedding call."""
        self._read_all(lane, rows)
        end = time.monotonic() + self._gathering.wait_seconds
        while rows and self._room(lane, rows) and time.monotonic() < end:
            time.sleep(self._gathering.wait_seconds / 4)
            self._read_all(lane, rows)
        self._read(lane, rows, self._room(lane, rows), last=True)

    def _read_all(self, lane: str, rows: list[Logged]) -> None:
        """Read until the batch is full or no fill is left."""
        while count := self._room(lane, rows):
            if self._read(lane, rows, count, last=False) < count:
                return

    def _read(self, lane: str, rows: list[Logged], count: int, *, last: bool) -> int:
        some = self._runner.run(fill_log.read(self._keys, lane, self.consumer, count, last=last), _SECONDS)
        return self._took(lane, rows, some)

    def _took(self, lane: str, rows: list[Logged], some: list[Logged]) -> int:
        """Add fills to a batch, and remember how large the largest was; one that was long ago counts for less."""
        rows += some
        if some:
            largest = max(len(row.blob) for row in some)
            self._sizes[lane] = max(1, largest, self._sizes.get(lane, 0) // 2)
        return len(some)

    def _room(self, lane: str, rows: Sequence[Logged]) -> int:
        """Return how many fills the next read of a batch may ask for; 0 when the batch is full, by number or bytes.

        Nobody knows how large those are that were not read yet: the first one of a lane is read alone, and then they
        are taken to be as large as the largest of the read before.
        """
        left = MAX_BATCH_BYTES - sum(len(row.blob) for row in rows)
        missing = self._gathering.size(lane) - len(rows)
        if left <= 0 or missing <= 0:
            return 0
        return min(missing, _AT_ONCE, max(1, left // self._sizes.get(lane, MAX_BATCH_BYTES)))

    def _give_way(self, lane: str, took: float) -> None:
        """Let users' fills go first: both need the same processor, interpreter lock and servers.

        Before a bulk batch, wait while users' fills are being written; and where some came within the last second, rest
        for as long as the batch before took.
        """
        if lane != "interactive":
            self._users_done.wait(_YIELD_SECONDS)
            if time.monotonic() - self._users_at < _USERS_SECONDS:
                time.sleep(min(took, _YIELD_SECONDS))

    def _write(self, rows: list[Logged], lane: str, space: Space) -> int:
        users = lane == "interactive"
        if users:
            self._count_users(1)
        try:
            return self._writer.write(rows, lane, space)
        finally:
            self.handled_at = time.monotonic()
            if users:
                self._count_users(-1)

    def _count_users(self, change: int) -> None:
        with self._lock:
            self._users += change
            self._users_at = time.monotonic()
            if self._users:
                self._users_done.clear()
            else:
                self._users_done.set()

    @contextmanager
    def _working(self, lane: str) -> Iterator[list[Logged]]:
        token = threading.get_ident()
        work = _Work(lane)
        with self._lock:
            self._works[token] = work
        try:
            yield work.rows
        finally:
            with self._lock:
                del self._works[token]


def least_suspect(left: list[Silent]) -> list[Silent]:
    """Return the fills that were delivered once; without any, the one that was delivered least often."""
    trusted = [one for one in left if one.deliveries <= _TRUSTED_DELIVERIES]
    return trusted or [min(left, key=lambda one: one.deliveries)]
