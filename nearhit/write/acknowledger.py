"""Acknowledger: acknowledges, reschedules or dead-letters fills."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nearhit.errors import NewerMessageError
from nearhit.write import fill_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.errors import MessageError, NearhitError
    from nearhit.flow.runner import Runner
    from nearhit.resilience.backoff import Backoff
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys
    from nearhit.write.fill_log import Logged

log = logging.getLogger("nearhit")

BUSY_WAIT_SECONDS = 0.05
"""How long a fill waits whose entry another worker is writing; that is no failed try."""


NEWER_WAIT_SECONDS = 20.0
"""How long a message of a later version waits for its next worker; that is no failed try, either."""

NEWER_SECONDS = 7 * 86_400.0
"""For how long it does so: an upgrade, or what is done about one that failed, is over by then."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the write path.

    Attributes:
        max_tries: tries before a fill is given up.
        max_deliveries: deliveries to workers that then fell silent, before it is given up.
        embed_seconds: longest time of an embedding call.
        store_seconds: longest time of a round trip to either server.
    """

    max_tries: int = 100
    max_deliveries: int = 5
    embed_seconds: float = 10.0
    store_seconds: float = 10.0


class Acknowledger:
    """Acknowledges fills in the log, lets them wait for a retry, or moves them to the dead letters. Thread-safe.

    Every method raises ``StoreUnavailableError`` when the log's server does not answer; the fills are then still in
    progress, and are claimed again later.

    Args:
        runner: runs flows against the log's server.
        keys: names of the log.
        metrics: where it is counted.
        backoff: how long a failed fill waits.
        limits: bounds.
    """

    def __init__(self, runner: Runner, keys: LogKeys, metrics: Metrics, backoff: Backoff, limits: Limits) -> None:
        self._runner = runner
        self._keys = keys
        self._metrics = metrics
        self._backoff = backoff
        self._limits = limits

    def ack(self, rows: Sequence[Logged], lane: str) -> None:
        """Take fills out of the log."""
        self._runner.run(fill_log.ack(self._keys, lane, rows), self._limits.store_seconds)

    def expire(self, rows: Sequence[Logged], lane: str) -> None:
        """Take fills out of the log whose time to live ended there; they are counted, and not kept."""
        if rows:
            self._runner.run(fill_log.expire(self._keys, lane, rows), self._limits.store_seconds)
            self._metrics.dead_letters["expired"].inc(len(rows))

    def poisonous(self, row: Logged, lane: str) -> bool:
        """Return whether too many workers fell silent with this fill; it is then dead-lettered."""
        if row.deliveries <= self._limits.max_deliveries:
            return False
        self.dead_letter(row, lane, "poison", f"{row.deliveries - 1} workers fell silent over it")
        return True

    def busy(self, rows: Sequence[Logged], lane: str) -> None:
        """Let fills wait a moment for another worker's write."""
        self._wait([(row, BUSY_WAIT_SECONDS * (0.5 + _chance()), row.tries) for row in rows], lane)

    def retry_later(self, rows: Sequence[Logged], lane: str, reason: str, error: NearhitError) -> None:
        """Let fills wait for their next try, or dead-letter those that had their last one."""
        waits = []
        retry_after: float | None = getattr(error, "retry_after_seconds", None)
        for row in rows:
            tries = row.tries + 1
            if tries >= self._limits.max_tries:
                self.dead_letter(row, lane, "retries_exhausted", f"{tries} tries; the last: {error}")
            else:
                waits.append((row, self._backoff.wait_seconds(tries, _chance(), retry_after), tries))
        self._wait(waits, lane)
        self._metrics.retries[reason].inc(len(waits))

    def unreadable(self, row: Logged, lane: str, error: MessageError) -> None:
        """Give up a message that is none; one of a later version waits for a worker that knows it."""
        waited_seconds = time.time() - row.queued_ms / 1000
        if isinstance(error, NewerMessageError) and waited_seconds < NEWER_SECONDS:
            self._wait([(row, NEWER_WAIT_SECONDS * (0.5 + _chance()), row.tries)], lane)
            self._metrics.retries["version"].inc()
        else:
            self.dead_letter(row, lane, "undecodable", error)

    def dead_letter(self, row: Logged, lane: str, reason: str, why: object) -> None:
        """Move a fill to the dead-letter log, count it, and say so; the log line holds neither prompt nor answer."""
        if reason == "undecodable" and not isinstance(why, NewerMessageError):  # a later worker replays it, if whole
            row = replace(row, blob=row.blob[: fill_log.MAX_UNREADABLE_BYTES])
        flow = fill_log.dead_letter(self._keys, lane, row, reason, str(why))
        if self._runner.run(flow, self._limits.store_seconds):
            self._metrics.dead_letters[reason].inc()
            log.warning("fill given up", extra={"action": "dead_letter", "reason": reason, "lane": lane})

    def _wait(self, waits: Sequence[tuple[Logged, float, int]], lane: str) -> None:
        if waits:
            now_ms = time.time_ns() // 1_000_000
            due = [(row, now_ms + round(seconds * 1000), tries) for row, seconds, tries in waits]
            self._runner.run(fill_log.retry_later(self._keys, lane, due), self._limits.store_seconds)


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing
