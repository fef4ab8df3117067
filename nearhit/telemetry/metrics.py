"""Metrics: every series that Nearhit exports, as attributes of one object over one registry.

Label values are closed sets: enums of ours, literals in the code, and for the two that come from outside (the class of
an error, the reason of a caller's own guard) the first so many, after which all others count as ``other``. No prompt,
tenant, model answer or key is ever a label; ``namespace`` and ``model`` are what the settings say.

Counters and histograms come from every process. Gauges of shared state (how deep the log is, how many entries there
are) are set by workers alone, and have no value elsewhere; every worker sees the same, so that a query takes their
maximum, not their sum.
"""

from __future__ import annotations

import math
import time
import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.registry import Collector

from nearhit.domain.outcome import FillOutcome, Hit, MissReason, Stored, Tier
from nearhit.domain.threshold_table import REFUSALS as THRESHOLD_REFUSALS
from nearhit.telemetry.exposition import expose, multiprocess_folder
from nearhit.telemetry.series import Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Metric

    from nearhit.domain.intervals import Share
    from nearhit.domain.outcome import Miss

Made = TypeVar("Made", Counter, Gauge, Histogram)
Mode = Literal["livemostrecent", "livemax", "livesum"]

STAGES = ("exact", "embed", "search", "guard", "judge", "total")
SIMILARITY_BUCKETS = tuple(hundredth / 100 for hundredth in range(50, 101))
"""The same in every process, whatever its threshold: a sum over buckets of different bounds means nothing."""

LATENCY_BUCKETS = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
AGE_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the entry's own lifetime, so that they follow every time to live."""

SIMILARITY_OUTCOMES = ("hit", "miss", "refused")
LANES = ("interactive", "bulk")
SIDES = ("read", "write")
DEAD_REASONS = (
    *("bad_row", "bad_vector", "embedder_refused", "expired", "model_refused"),
    *("poison", "refused", "refused_message", "retries_exhausted", "undecodable"),
)
RETRY_REASONS = ("embedder", "model", "store")
HEAL_REASONS = ("flushed", "dropped", "new_primary", "backfilling")
VERIFY_OUTCOMES = ("sent", "dropped", "unaskable")
VERIFICATIONS = (
    *("true_hit", "false_hit", "unjudged_misconfigured", "unjudged_poison"),
    *("unjudged_refused", "unjudged_unavailable", "unjudged_unreadable"),
)
ROTATION_STEPS = ("build", "flip", "drop")
UNKNOWN = math.nan
"""Value of a gauge whose state cannot be seen now; a graph shows a gap and no alert compares with it."""

_MOST_KINDS = 128
_MOST_REASONS = 64
_REFRESH_SECONDS = 1.0


class Metrics:
    """All series, in ``registry``. For another namespace over the same registry, ask ``beside``.

    Args:
        registry: where to register, for example the application's own; ``None`` makes one, reachable as ``registry``.
        namespace: value of the ``namespace`` label of every series.
    """

    def __init__(self, registry: CollectorRegistry | None = None, namespace: str = "default") -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.namespace = namespace
        self._made: dict[str, Any] = {}
        self._at_scrape = _AtScrape()
        self.registry.register(self._at_scrape)  # before any series: a registry collects in this order
        self._start()

    def _start(self) -> None:
        self._at_scrape.steps.append(self._observe_engine)
        self._refreshed_at = time.monotonic()
        self._shared = multiprocess_folder() is not None
        self._engine: Callable[[], Any] | None = None
        self._read_path()
        self._write_path()
        self._index()
        self._verification()
        self._processes()

    def beside(self, namespace: str) -> Metrics:
        """Return the same series for another namespace, in the same registry."""
        other = object.__new__(Metrics)
        other.registry = self.registry
        other.namespace = namespace
        other._made = self._made
        other._at_scrape = self._at_scrape
        other._start()
        return other

    def expose(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and body for a ``/metrics`` of the application's own; see ``exposition.expose``."""
        return expose(self.registry, accept)

    def describe(self, role: str, *, model: str, engine: str, threshold: float) -> None:
        """Say what this process is: ``client`` or ``worker``, and what it is set to."""
        self._info.labels(self.namespace, role, model[:100], engine).set(1)
        if role == "worker":
            self._show_worker_series()
        else:
            self.show_threshold(threshold)

    def show_threshold(self, threshold: float) -> None:
        """Say from which similarity a neighbour is a hit now, where no tenant or scope has a threshold of its own."""
        self._threshold_gauge.labels(self.namespace).set(threshold)

    def watch_engine(self, engine: object) -> None:
        """Report how the engine's replica is at every scrape, where it has one, for as long as the engine lives."""
        self._engine = weakref.ref(engine)

    def at_scrape(self, step: Callable[[], None]) -> None:
        """Run ``step`` before every scrape of this process, to set gauges; it must be quick and not raise."""
        self._at_scrape.steps.append(step)

    def _counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        return self._once(name, lambda full: Counter(full, text, ("namespace", *labels), registry=self.registry))

    def _gauge(self, name: str, text: str, labels: tuple[str, ...] = (), mode: Mode = "livemostrecent") -> Gauge:
        names = ("namespace", *labels)
        return self._once(name, lambda full: Gauge(full, text, names, registry=self.registry, multiprocess_mode=mode))

    def _histogram(self, name: str, text: str, buckets: Sequence[float], labels: tuple[str, ...] = ()) -> Histogram:
        names = ("namespace", *labels)
        return self._once(name, lambda full: Histogram(full, text, names, buckets=buckets, registry=self.registry))

    def _once(self, name: str, make: Callable[[str], Made]) -> Made:
        if name not in self._made:
            self._made[name] = make(f"nearhit_{name}")
        made: Made = self._made[name]
        return made

    def _read_path(self) -> None:
        space = self.namespace
        lookups = self._counter(
            "lookups_total", "Lookups by tier, and hit or the reason of the miss.", ("tier", "outcome")
        )
        self._hits = {tier: lookups.labels(space, tier.value, "hit") for tier in Tier}
        self._misses = {reason: lookups.labels(space, "none", reason.value) for reason in MissReason}
        similarity = self._histogram(
            "similarity",
            "Similarity of the nearest neighbour; refused: above the threshold, and refused by the guard or the judge.",
            SIMILARITY_BUCKETS,
            ("outcome",),
        )
        self._similar = {one: similarity.labels(space, one) for one in SIMILARITY_OUTCOMES}
        self._threshold_gauge = self._gauge("threshold", "Similarity from which a neighbour is a hit, as it is now.")
        self.refused_thresholds = self._counter(
            "refused_thresholds_total", "Thresholds set at run time that were not taken as they are.", ("reason",)
        )
        for reason in THRESHOLD_REFUSALS:
            self.refused_thresholds.labels(space, reason)
        stage = self._histogram("lookup_seconds", "Time of a lookup by stage.", LATENCY_BUCKETS, ("stage",))
        self._stages = {name: stage.labels(space, name) for name in STAGES}
        self.errors = self._counter("errors_total", "Failures by stage and class of error.", ("stage", "kind"))
        self._errors = Held(self.errors, space, _MOST_KINDS)
        refusals = self._counter(
            "guard_refusals_total", "Neighbours refused by the guard, or as unseen, by reason.", ("reason",)
        )
        self._refusals = Held(refusals, space, _MOST_REASONS)
        self.judgements = self._counter(
            "judgements_total", "Neighbours that the judge was to decide on, by verdict.", ("verdict", "source")
        )
        self.judge_tokens = self._counter("judge_tokens_total", "Tokens that the judge used, as its provider counts.")
        self.judge_dollars = self._counter("judge_dollars_total", "Dollars spent on the judge.")
        self.saved_tokens = self._counter("saved_tokens_total", "Tokens that hits did not buy.").labels(space)
        self.saved_dollars = self._counter("saved_dollars_total", "Dollars that hits did not cost.").labels(space)
        self._age = self._histogram(
            "hit_age_ratio", "Age of the entry at a hit, as a share of its lifetime.", AGE_BUCKETS
        ).labels(space)
        self.loop_lag = self._histogram(
            "loop_lag_seconds", "How late an event loop came back to lookups that were under way.", LATENCY_BUCKETS
        )
        self.breaker = self._gauge("breaker_open", "1 while the breaker of a part is open.", ("part",), "livemax")

    def _write_path(self) -> None:
        space = self.namespace
        fills = self._counter("fills_total", "Fills by what became of them at the caller.", ("outcome",))
        self.fills = {outcome: fills.labels(space, outcome.value) for outcome in FillOutcome}
        self.spooled = self._gauge(
            "spool_fills", "Fills that wait in memory for the log's server.", (), "livesum"
        ).labels(space)
        self.log_depth = self._gauge("log_depth", "Fills in a log, those in work included.", ("lane",))
        self.log_pending = self._gauge("log_pending", "Fills of a log that are in work.", ("lane",))
        self.log_age = self._gauge("log_age_seconds", "Age of the oldest fill in a log.", ("lane",))
        self.retrying = self._gauge("log_retrying", "Fills that wait for their next try.", ("lane",))
        self._dead = self._gauge("dead_log_depth", "Fills in the dead-letter log.")
        self.upserts = self._counter("upserts_total", "Fills by what the worker did with them.", ("lane", "outcome"))
        self.dead_letters = self._counter("dead_letters_total", "Fills given up, by reason.", ("reason",))
        self.retries = self._counter("retries_total", "Fills put off, by reason.", ("reason",))
        self.batch = self._histogram("batch_fills", "Fills in a batch.", BATCH_BUCKETS, ("lane",))
        self.lag = self._histogram("lag_seconds", "From fill to searchable.", LAG_BUCKETS, ("lane",))
        self.embed_calls = self._counter("embed_calls_total", "Embedding calls.", ("side",))
        self.embed_texts = self._counter("embed_texts_total", "Texts embedded.", ("side",))
        self.embed_tokens = self._counter("embed_tokens_total", "Tokens embedded, as the provider counts.", ("side",))
        self.embed_dollars = self._counter("embed_dollars_total", "Dollars spent on embedding.", ("side",))
        self.flights = self._counter("flights_total", "Misses of get_or_create by who asked the model.", ("outcome",))
        self.wakeups = self._counter("wakeups_total", "Wake-up messages by outcome.", ("outcome",))

    def _index(self) -> None:
        self.heals = self._counter("index_heals_total", "Times the index was made again, by reason.", ("reason",))
        self.entries = self._gauge("index_entries", "Entries in the index.")
        self.index_vector_bytes = self._gauge("index_vector_bytes", "Bytes of the living vectors of the index.")
        self.index_memory = self._gauge("index_memory_bytes", "Memory of all indexes of the server.")
        self.reclaimable = self._gauge("index_reclaimable_bytes", "Bytes of dead vectors of the index.")
        self.index_failures = self._gauge("index_failures", "Hashes that the index skipped.")
        self.index_backfill = self._gauge("index_backfill_ratio", "Share of the entries that the index has read.")
        self.generation = self._gauge("index_generation", "Generation of the index that readers use.")
        self.rotations = self._counter("rotations_total", "Steps of index rotations that this worker took.", ("step",))
        self.write_verifications = self._counter(
            "write_verifications_total", "Entries looked for right after they were written, by outcome.", ("outcome",)
        )
        self.invalidated = self._counter(
            "invalidated_entries_total", "Entries removed on demand, by what was asked for.", ("by",)
        )
        self.probes = self._counter("recall_probes_total", "Entries asked for by their own vector.", ("outcome",))
        self.replica_lag = self._gauge("replica_lag_seconds", "How far a local replica is behind.", (), "livemax")
        self.replica_entries = self._gauge("replica_entries", "Entries in a local replica.", (), "livemax")
        self.replica_memory = self._gauge("replica_memory_bytes", "Memory of local replicas.", (), "livesum")
        self.replica_ready = self._gauge("replica_ready", "Local replicas that serve.", (), "livesum")
        self.replica_left_out = self._gauge("replica_left_out", "Entries without room in a replica.", (), "livemax")
        self.replica_loads = self._gauge(
            "replica_loads", "Full loads of local replicas, by reason.", ("reason",), "livesum"
        )

    def _verification(self) -> None:
        space = self.namespace
        self.verify_requests = self._counter(
            "verify_requests_total", "Semantic hits drawn for verification, by what became of them.", ("outcome",)
        )
        for outcome in VERIFY_OUTCOMES:
            self.verify_requests.labels(space, outcome)
        self.verifications = self._counter("verifications_total", "Hits verified, by verdict.", ("verdict",))
        self.verify_dollars = self._counter("verify_dollars_total", "Dollars spent on verification.")
        self.threshold_raises = self._counter("threshold_raises_total", "Thresholds that verification has raised.")
        self.verified_hits = self._gauge("verified_hits", "Verified hits that count now, by verdict.", ("verdict",))
        self._false_share = self._gauge(
            "false_hit_ratio", "Measured share of false hits among semantic hits, and its bounds.", ("bound",)
        )
        self._false_budget = self._gauge("false_hit_budget", "Share of semantic hits that may be false.")

    def show_false_hits(self, measured: Share | None, budget: float) -> None:
        """Say how many semantic hits are false, and how many may be; ``None`` where nothing was measured."""
        ends = (measured.value, measured.low, measured.high) if measured is not None else (UNKNOWN,) * 3
        for bound, value in zip(("measured", "low", "high"), ends, strict=True):
            self._false_share.labels(self.namespace, bound).set(UNKNOWN if value is None else value)
        self._false_budget.labels(self.namespace).set(budget)

    def forget_false_hits(self) -> None:
        """Say that what was measured cannot be seen now."""
        for bound in ("measured", "low", "high"):
            self._false_share.labels(self.namespace, bound).set(UNKNOWN)

    def _processes(self) -> None:
        labels = ("role", "model", "engine")
        self._info = self._gauge("info", "1 for every kind of process, and what it is set to.", labels, "livemax")
        self.worker_live = self._gauge("worker_live", "1 while the worker makes progress.")
        self.worker_ready = self._gauge("worker_ready", "1 while the worker reaches everything that it needs.")
        self.worker_stuck = self._gauge("worker_stuck_seconds", "Since when there is work and none of it gets done.")

    def _show_worker_series(self) -> None:
        """Make the series of a worker at 0, so that ``increase`` sees their first count."""
        space = self.namespace
        for lane in LANES:
            self.batch.labels(space, lane)
            self.lag.labels(space, lane)
            for stored in Stored:
                self.upserts.labels(space, lane, stored.value)
        self.threshold_raises.labels(space)
        self.verify_dollars.labels(space)
        for series, reasons in (
            (self.verifications, VERIFICATIONS),
            (self.dead_letters, DEAD_REASONS),
            (self.retries, RETRY_REASONS),
            (self.heals, HEAL_REASONS),
            (self.rotations, ROTATION_STEPS),
            (self.probes, ("found", "missed")),
        ):
            for reason in reasons:
                series.labels(space, reason)

    @cached_property
    def dead(self) -> Gauge:
        """The depth of the dead-letter log; a gauge of workers, made at its first use."""
        return self._dead.labels(self.namespace)

    def count_lookup(self, outcome: Hit | Miss) -> None:
        """Count a finished lookup: outcome, similarity, stages, and what a hit saved."""
        if isinstance(outcome, Hit):
            self._hits[outcome.tier].inc()
            if outcome.lifetime_seconds:
                self._age.observe(outcome.age_seconds / outcome.lifetime_seconds)
            if outcome.tier is Tier.SEMANTIC:
                self._similar["hit"].observe(outcome.similarity)
            usage = outcome.usage
            if usage is not None:
                self.saved_tokens.inc(usage.prompt_tokens + usage.completion_tokens)
                self.saved_dollars.inc(usage.cost_dollars)
        else:
            self._misses[outcome.reason].inc()
            nearest = outcome.nearest
            if nearest is not None:
                self._similar["refused" if nearest.refusal else "miss"].observe(nearest.similarity)
                if nearest.refusal and outcome.reason is not MissReason.JUDGE:  # those are counted as judgements
                    self._refusals.of(nearest.refusal).inc()
        stages = self._stages
        for stage, seconds in outcome.stages.items():
            held = stages.get(stage)
            if held is not None:
                held.observe(seconds)
        if self._shared:
            self._write_gauges()

    def _write_gauges(self) -> None:
        """Write this process's gauges down now and then: the scrape may be answered by another process."""
        now = time.monotonic()
        if now - self._refreshed_at >= _REFRESH_SECONDS:
            self._refreshed_at = now
            self._at_scrape.run()

    def count_error(self, stage: str, error: BaseException) -> None:
        """Count a failure under the stage it happened in and the name of its class."""
        self._errors.of(stage, type(error).__name__).inc()

    def _observe_engine(self) -> None:
        engine = self._engine() if self._engine is not None else None
        look = getattr(engine, "stats", None)  # the server-side engine has no replica
        if look is None:
            return
        stats, space = look(), self.namespace
        self.replica_lag.labels(space).set(stats.lag_seconds)
        self.replica_entries.labels(space).set(stats.entries)
        self.replica_memory.labels(space).set(stats.memory_bytes)
        self.replica_ready.labels(space).set(stats.ready)
        self.replica_left_out.labels(space).set(stats.left_out)
        for reason, loads in stats.bootstraps.items():
            self.replica_loads.labels(space, reason).set(loads)


class Held:
    """Children of a counter by their label values, at most ``most`` of them: later ones count as ``other``."""

    def __init__(self, series: Counter, namespace: str, most: int) -> None:
        self._series = series
        self._namespace = namespace
        self._most = most
        self._children: dict[tuple[str, ...], Counter] = {}

    def of(self, *values: str) -> Counter:
        """Return the child for ``values``, or that of ``other`` when there are too many."""
        child = self._children.get(values)
        if child is None:
            if len(self._children) >= self._most:
                return self._series.labels(self._namespace, *("other" for _ in values))
            child = self._children[values] = self._series.labels(self._namespace, *values)
        return child


class _AtScrape(Collector):
    """Runs steps when a scrape begins; it exports nothing itself."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []

    def run(self) -> None:
        for step in self.steps:
            step()

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self.run()
        return ()
