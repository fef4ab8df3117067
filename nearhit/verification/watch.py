"""Watch: sets the gauges of a worker from the samples, and raises a threshold whose error budget is broken."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from nearhit.domain.threshold_table import ThresholdEntry, readable
from nearhit.errors import NearhitError
from nearhit.read import threshold_store
from nearhit.verification import samples
from nearhit.verification.measure import Budget, in_force, raised, tally
from nearhit.verification.samples import VERDICTS

if TYPE_CHECKING:
    from nearhit.flow.runner import Runner
    from nearhit.settings import Settings
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys
    from nearhit.verification.measure import Raise
    from nearhit.verification.samples import Sample

log = logging.getLogger("nearhit")

WHO = "verification"
"""Who has set a threshold that was raised here."""

_SECONDS = 5.0


class Watch:
    """Measures the false-hit rate of a namespace and keeps it within its budget. Any number of workers may do so.

    Args:
        runner: runs flows against the log's server.
        keys: names there.
        metrics: where the gauges are.
        budget: how many hits may be false, and how far a threshold may be raised.
        window_seconds: how long a sample counts.
    """

    def __init__(self, runner: Runner, keys: LogKeys, metrics: Metrics, budget: Budget, window_seconds: float) -> None:
        self._runner = runner
        self._keys = keys
        self._metrics = metrics
        self._budget = budget
        self._window_ms = round(window_seconds * 1000)
        self._seen: list[Sample] = []
        self._last = b""

    def look(self) -> None:
        """Read what is new, set the gauges, and raise what breaks its budget.

        Raises:
            StoreUnavailableError: the log's server does not answer; the gauges then say so.
        """
        try:
            self.catch_up()
            rows = self._runner.run(threshold_store.rows(self._keys), _SECONDS)
        except NearhitError:
            self._metrics.show_false_hits(None)
            raise
        entries = readable(rows)
        groups = in_force(self._seen, entries)
        found = tally([one for group in groups.values() for one in group])
        self._metrics.show_false_hits(found.false_share if found.false_share.total else None, self._budget.share)
        for verdict, count in zip(VERDICTS, (found.true, found.false, found.unjudged), strict=True):
            self._metrics.verified_hits[verdict].set(count)
        for field, group in groups.items():
            wanted = raised(group, self._budget)
            if wanted is not None:
                self.raise_threshold(field, wanted, entries.get(field), rows.get(field))

    def catch_up(self) -> None:
        """Read the samples that are new, and drop those that count no more."""
        while True:
            oldest, page = self._runner.run(samples.newer(self._keys, self._last), _SECONDS)
            self._seen += [one for one in page if one.readable]
            if page:
                self._last = page[-1].id
            if len(page) < samples.PAGE:
                break
        oldest_ms = int(oldest.partition(b"-")[0] or 0)
        start_ms = max(oldest_ms, time.time_ns() // 1_000_000 - self._window_ms)
        self._seen = [one for one in self._seen if one.at_ms >= start_ms] if oldest else []

    def raise_threshold(self, field: str, wanted: Raise, entry: ThresholdEntry | None, blob: bytes | None) -> None:
        """Raise a threshold unless another worker was first."""
        about = entry.about if entry is not None else "the namespace"
        now_ms = time.time_ns() // 1_000_000
        made = ThresholdEntry(field, wanted.after, WHO, now_ms, wanted.why, wanted.before, about)
        if self._runner.run(threshold_store.change(self._keys, made, blob), _SECONDS):
            self._metrics.threshold_raises.inc()
            log.warning(
                "threshold raised: %s",
                wanted.why,
                extra={"action": "verify", "field": field, "before": wanted.before, "after": wanted.after},
            )


def watch_of(runner: Runner, keys: LogKeys, metrics: Metrics, settings: Settings) -> Watch:
    """Return the watch that ``settings`` describe."""
    budget = Budget(settings.verify_budget, settings.verify_ceiling)
    return Watch(runner, keys, metrics, budget, settings.verify_window_seconds)
