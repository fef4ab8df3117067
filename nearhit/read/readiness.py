"""Readiness: whether the index is open and when to reopen it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from nearhit.domain.outcome import Hit, Miss, MissReason
from nearhit.errors import (
    BusyError,
    ConfigError,
    ContractError,
    EmbedderUnavailableError,
    NearhitError,
    StoreUnavailableError,
)
from nearhit.index.local import LocalEngine
from nearhit.resilience.flag import Flag
from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from nearhit.domain.question import Question
    from nearhit.index.local import ReplicaStats
    from nearhit.index.opening import Opened
    from nearhit.index.space import Space
    from nearhit.telemetry.metrics import Metrics

log = logging.getLogger("nearhit")

OPEN_SECONDS = 60.0
"""How long opening may take in the background: a first model load and LiteLLM's import are in it."""

REOPEN_SECONDS = 1.0
"""How long after an opening that failed, or that found a lost index, the next one may start."""

VERIFY_SECONDS = 30.0
"""How long an embedder that did not answer at the opening is trusted by its name before it is compared again."""


def closed(question: Question) -> Miss:
    """Return the miss of a lookup in a cache that was closed."""
    return question.miss(MissReason.CLOSED)


class Readiness:
    """Says whether a space is open, whether it must be opened again, and what a lookup before that is.

    Args:
        metrics: where failures and heals are counted.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = PerProcess(threading.Lock)
        self._failure: NearhitError | None = None
        self._next_try = 0.0
        self._opening = False
        self._closed = False
        self._turn = 0
        self._due: float | None = 0.0
        self.space: Space | None = None
        self.changed = Flag()

    def try_to_enter(self) -> int:
        """Return the number of the opening that the caller must start now, or 0; at most one runs at a time."""
        if self._due is None:  # read without the lock: this is on every lookup's path
            return 0
        with self._lock.get():
            now = time.monotonic()
            if self._opening or self._closed or self._due is None or now < max(self._due, self._next_try):
                return 0
            self._opening = True
            self._turn += 1
            self._next_try = now + REOPEN_SECONDS
            self.changed.clear()
            return self._turn

    @property
    def settled(self) -> bool:
        """Whether no opening is due."""
        return self._due is None

    @property
    def opening(self) -> int:
        """The number of the opening that is under way, or 0."""
        return self._turn if self._opening else 0

    @property
    def waiting(self) -> bool:
        """Whether an opening is under way that a first lookup may wait for."""
        return self._opening and self.space is None

    @property
    def replica(self) -> ReplicaStats | None:
        """How far this process's replica is, where the space has one."""
        space = self.space
        return space.engine.stats() if space is not None and isinstance(space.engine, LocalEngine) else None

    def opened(self, opened: Opened, turn: int) -> None:
        """Take the space that an opening gave, unless it was given up or the cache was closed meanwhile.

        Args:
            opened: what it gave.
            turn: its number.
        """
        with self._lock.get():
            current = turn == self._turn and not self._closed
            if current:
                self._take(opened)
            unused = opened.space.engine if self.space is None or self.space.engine is not opened.space.engine else None
        if unused is not None:
            unused.close()
        if current:
            self.changed.set()

    def failed(self, error: NearhitError, turn: int) -> None:
        """Take note that the opening of number ``turn`` failed; another one is tried after a moment."""
        with self._lock.get():
            if turn != self._turn or not self._opening:
                return
            self._opening = False
            changed = type(error) is not type(self._failure)
            self._failure = error
            self._next_try = time.monotonic() + REOPEN_SECONDS
            if self._due is None:
                self._due = 0.0
        self._metrics.count_error("open", error)
        if changed:
            level = logging.ERROR if isinstance(error, ConfigError | ContractError) else logging.WARNING
            log.log(level, "the cache cannot be opened: %s", error, extra={"action": "open"})
        self.changed.set()

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Close the space, and whatever an opening that is still under way will give."""
        self.end()
        with self._lock.get():
            space = self.space
        self.changed.set()
        if space is not None:
            space.engine.close(timeout_seconds)

    def end(self) -> None:
        """Take no other space. Waits for nothing and takes no lock: for finalizers."""
        self._closed = True

    def lost(self) -> None:
        """Ask for another opening: a lookup or a write found the index gone."""
        with self._lock.get():
            if self._due is None:
                self._due = 0.0

    def doubted(self) -> None:
        """Ask for another opening: the server refuses what it could do when it was opened, so it may be another one."""
        with self._lock.get():
            if self._due is None:
                self._due = 0.0

    def heed(self, outcome: Hit | Miss) -> None:
        """Ask for another opening where an outcome says that the index is lost, or that the server is another one."""
        if isinstance(outcome, Miss) and outcome.reason is MissReason.INDEX_LOST:
            self.lost()
        elif isinstance(outcome, Miss) and outcome.reason is MissReason.MISCONFIGURED:
            self.doubted()

    def miss(self, question: Question) -> Miss:
        """Return the miss of a lookup that found no open space."""
        failure = self._failure
        reason = MissReason.WARMING
        if isinstance(failure, StoreUnavailableError):
            reason = MissReason.BUSY if isinstance(failure, BusyError) else MissReason.UNAVAILABLE
        elif isinstance(failure, EmbedderUnavailableError):
            reason = MissReason.EMBEDDER_UNAVAILABLE
        elif isinstance(failure, ConfigError | ContractError):
            reason = MissReason.MISCONFIGURED
        return question.miss(reason, detail=str(failure) if failure is not None else "the cache is still opening")

    def forget(self) -> None:
        """Start anew, as a forked child must: neither threads nor followers have come along."""
        with self._lock.get():
            self.space = None
            self._failure = None
            self._opening = False
            self._turn += 1
            self._due = 0.0
            self._next_try = 0.0
        self.changed = Flag()

    def _take(self, opened: Opened) -> None:
        if opened.healed is not None:  # otherwise it was never lost, or somebody else has made it again
            self._metrics.heals[opened.healed].inc()
            log.warning("index made again", extra={"action": "heal", "reason": opened.healed.value})
        self.space = opened.space
        self._metrics.watch_engine(opened.space.engine)
        self._failure = None
        self._opening = False
        self._due = None if opened.verified else time.monotonic() + VERIFY_SECONDS
