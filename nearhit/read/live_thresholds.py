"""Live thresholds: the rules that lookups of this process apply, with thresholds that change while it runs.

A thread reads the entries every two seconds. A lookup reads a mapping in this process, so a slow or dead server never
delays it: the last thresholds read, or the configured ones, hold until the next read.
"""

from __future__ import annotations

import logging
import weakref
from functools import partial
from typing import TYPE_CHECKING

from nearhit.domain.threshold_table import Table, in_force, read
from nearhit.errors import NearhitError
from nearhit.flow.runner import run_sends
from nearhit.read import threshold_store
from nearhit.resilience.background import Background, Inbox
from nearhit.resilience.flag import Flag
from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from nearhit.domain.hit_policy import Rules
    from nearhit.domain.question import Question
    from nearhit.flow.ports import Link
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys

log = logging.getLogger("nearhit")

POLL_SECONDS = 2.0
"""How often a process reads the entries: an HGETALL of next to nothing."""

FIRST_SECONDS = 0.5
"""How long the opening of a cache waits for the first read; then the configured threshold holds until it is there."""

_SECONDS = 1.0
_STOP_SECONDS = 2.0


class LiveRules:
    """Gives the rules of a lookup. Thread-safe and fork-safe; nothing connects before ``start``.

    Args:
        keys: names on the log's server.
        link: a blocking way there.
        rules: as they are configured.
        floor: no entry is taken below this.
        metrics: where the threshold in force is shown, and failures are counted.

    Attributes:
        tried: set in each process once the first read has ended, one way or the other.
    """

    def __init__(self, keys: LogKeys, link: Link, rules: Rules, floor: float, metrics: Metrics) -> None:
        self._keys = keys
        self._link = link
        self._configured = rules
        self._floor = floor
        self._metrics = metrics
        self._table = Table({}, {})
        self._rows: dict[str, bytes] = {}
        self._failing = False
        self.tried = PerProcess(Flag)
        self._thread: Background[None] = Background("nearhit-thresholds", partial(_follow, weakref.ref(self)))
        weakref.finalize(self, self._thread.end).atexit = False

    def of(self, question: Question) -> Rules:
        """Return the rules for a question: by its scope's threshold, its tenant's, its namespace's, or the setting."""
        return in_force(self._table.rules, question.scope, question.tenant, self._configured)

    def start(self) -> bool:
        """Start to read the entries, in a thread that ends with this object; return whether it runs."""
        return self._thread.start()

    def wait(self, timeout_seconds: float = FIRST_SECONDS) -> bool:
        """Wait for the first read to end, one way or the other; return whether it has."""
        return self.tried.get().wait(timeout_seconds)

    def close(self, timeout_seconds: float = _STOP_SECONDS) -> None:
        """Stop the thread."""
        self._thread.close(timeout_seconds)

    def end(self) -> None:
        """Stop the thread without waiting for it: the cache was dropped."""
        self._thread.end()

    def refresh(self) -> None:
        """Read the entries now; never raises. An outage leaves everything as it is."""
        try:
            rows = run_sends(threshold_store.rows(self._keys), self._link, _SECONDS)
        except NearhitError as error:
            self._metrics.count_error("thresholds", error)
            if not self._failing:
                log.warning("thresholds cannot be read: %s", error, extra={"action": "thresholds"})
            self._failing = True
            return
        self._failing = False
        if rows != self._rows:
            self._take(rows)

    def _take(self, rows: dict[str, bytes]) -> None:
        table = read(rows, self._configured, self._floor)
        for field, reason in table.refused.items():
            if rows[field] != self._rows.get(field):  # once for each, however often it is read
                self._metrics.refused_thresholds[reason].inc()
                log.warning(
                    "threshold entry %s", reason, extra={"action": "thresholds", "field": field, "floor": self._floor}
                )
        self._rows, self._table = rows, table
        whole = in_force(table.rules, "", "", self._configured)
        self._metrics.threshold.set(whole.threshold)
        log.info("thresholds changed", extra={"action": "thresholds", "entries": len(table.rules)})


def _follow(whose: weakref.ref[LiveRules], inbox: Inbox[None]) -> None:
    while not inbox.ended:
        rules = whose()
        if rules is None:  # a cache that was forgotten without being closed
            return
        rules.refresh()
        rules.tried.get().set()
        del rules
        inbox.take(POLL_SECONDS)
