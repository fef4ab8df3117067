"""Metrics: every series that Nearhit exports, as attributes of one object over one registry.

Label values are closed sets: enums of ours, literals in the code, and for the two that come from outside (the class of
an error, the reason of a caller's own guard) the first so many, after which all others count as ``other``. No prompt,
tenant, model answer or key is ever a label; ``namespace`` and ``model`` are what the settings say.

Counters and histograms come from every process. Gauges of shared state (how deep the log is, how many entries there
are) are set by workers alone, and have no value elsewhere; every worker sees the same, so that a query takes their
maximum, not their sum.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
import weakref
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Gauge

from nearhit.domain.outcome import FillOutcome, Hit, MissReason, Stored, Tier
from nearhit.domain.threshold_table import REFUSALS as THRESHOLD_REFUSALS
from nearhit.telemetry.exposition import expose, multiprocess_folder
from nearhit.telemetry.labelled import Counts, Levels, Registered, Spread
from nearhit.telemetry.series import Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nearhit.domain.intervals import Share
    from nearhit.domain.outcome import Miss
    from nearhit.telemetry.labelled import Mode

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
RETRY_REASONS = ("embedder", "model", "store", "version")
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

    Each series is an attribute: ``metrics.dead_letters["poison"].inc()``; see ``Labelled``.

    Args:
        registry: where to register, for example the application's own; ``None`` makes one, reachable as ``registry``.
        namespace: value of the ``namespace`` label of every series.
    """

    def __init__(self, registry: CollectorRegistry | None = None, namespace: str = "default") -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        self.series = Registered(self.registry)
        self._start(namespace)

    def _start(self, namespace: str) -> None:
        self.namespace = namespace
        self.series.before_scrape.steps.append(self._observe_engine)
        self._refreshed_at = time.monotonic()
        self._shared = multiprocess_folder() is not None
        self._engine: Callable[[], Any] | None = None
        self._of_workers: list[tuple[Counts | Spread, Iterable[Any]]] = []
        self._read_path()
        self._write_path()
        self._index()
        self._verification()
        self._processes()

    def beside(self, namespace: str) -> Metrics:
        """Return the same series for another namespace, in the same registry."""
        other = copy.copy(self)
        Metrics._start(other, namespace)
        return other

    def expose(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and body for a ``/metrics`` of the application's own; see ``exposition.expose``."""
        return expose(self.registry, accept)

    def describe(self, role: str, *, model: str, engine: str, threshold: float) -> None:
        """Say what this process is: ``client`` or ``worker``, and what it is set to; Nearhit's version goes along."""
        self._info[role, model[:100], engine, version("nearhit")].set(1)
        if role == "worker":
            for series, keys in self._of_workers:
                series.start(keys)
        else:
            self.threshold.set(threshold)

    def watch_engine(self, engine: object) -> None:
        """Report how the engine's replica is at every scrape, where it has one, for as long as the engine lives."""
        self._engine = weakref.ref(engine)

    def at_scrape(self, step: Callable[[], None]) -> None:
        """Run ``step`` before every scrape of this process, to set gauges; it must be quick and not raise."""
        self.series.before_scrape.steps.append(step)

    def _counter(
        self, name: str, text: str, labels: Sequence[str] = (), *, worker: Iterable[Any] = (), most: int | None = None
    ) -> Counts:
        """Return a counter; those of ``worker`` are there at 0 once a process has said that it is a worker."""
        made = Counts(self.series.once(Counter, name, text, labels), self.namespace, most)
        self._of_workers.append((made, worker))
        return made

    def _gauge(self, name: str, text: str, labels: Sequence[str] = (), mode: Mode = "livemostrecent") -> Levels:
        return Levels(self.series.once(Gauge, name, text, labels, multiprocess_mode=mode), self.namespace)

    def _histogram(
        self, name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = (), *, worker: Iterable[Any] = ()
    ) -> Spread:
        made = Spread(self.series.once(Histogram, name, text, labels, buckets=buckets), self.namespace)
        self._of_workers.append((made, worker))
        return made

    def _read_path(self) -> None:
        self._lookups = self._counter(
            "lookups_total", "Lookups by tier, and hit or the reason of the miss.", ("tier", "outcome")
        )
        self._hits = {tier: self._lookups[tier, "hit"] for tier in Tier}
        self._misses = {reason: self._lookups["none", reason] for reason in MissReason}
        self._similar = self._histogram(
            "similarity",
            "Similarity of the nearest neighbour; refused: above the threshold, and refused by the guard or the judge.",
            SIMILARITY_BUCKETS,
            ("outcome",),
        )
        self._similar.start(SIMILARITY_OUTCOMES)
        self.threshold = self._gauge("threshold", "Similarity from which a neighbour is a hit, as it is now.")
        self.refused_thresholds = self._counter(
            "refused_thresholds_total", "Thresholds set at run time that were not taken as they are.", ("reason",)
        )
        self.refused_thresholds.start(THRESHOLD_REFUSALS)
        self._stages = self._histogram("lookup_seconds", "Time of a lookup by stage.", LATENCY_BUCKETS, ("stage",))
        self._stages.start(STAGES)
        self._errors = self._counter(
            "errors_total", "Failures by stage and class of error.", ("stage", "kind"), most=_MOST_KINDS
        )
        self._refusals = self._counter(
            *("guard_refusals_total", "Neighbours refused by the guard, or as unseen, by reason.", ("reason",)),
            most=_MOST_REASONS,
        )
        self.judgements = self._counter(
            "judgements_total", "Neighbours that the judge was to decide on, by verdict.", ("verdict", "source")
        )
        self.judge_tokens = self._counter("judge_tokens_total", "Tokens that the judge used, as its provider counts.")
        self.judge_dollars = self._counter("judge_dollars_total", "Dollars spent on the judge.")
        self.saved_tokens = self._counter("saved_tokens_total", "Tokens that hits did not buy.")[()]
        self.saved_dollars = self._counter("saved_dollars_total", "Dollars that hits did not cost.")[()]
        self._age = self._histogram(
            "hit_age_ratio", "Age of the entry at a hit, as a share of its lifetime.", AGE_BUCKETS
        )[()]
        self.loop_lag = self._histogram(
            "loop_lag_seconds", "How late an event loop came back to lookups that were under way.", LATENCY_BUCKETS
        )
        self.breaker = self._gauge("breaker_open", "1 while the breaker of a part is open.", ("part",), "livemax")

    def _write_path(self) -> None:
        self.fills = self._counter("fills_total", "Fills by what became of them at the caller.", ("outcome",))
        self.fills.start(FillOutcome)
        self.spooled = self._gauge("spool_fills", "Fills that wait in memory for the log's server.", (), "livesum")[()]
        self.log_depth = self._gauge("log_depth", "Fills that are neither stored nor given up.", ("lane",))
        self.log_pending = self._gauge("log_pending", "Fills of a log that are in work.", ("lane",))
        self.log_age = self._gauge("log_age_seconds", "Age of the oldest of those, retries or not.", ("lane",))
        self.retrying = self._gauge("log_retrying", "Fills that wait for their next try.", ("lane",))
        self.dead = self._gauge("dead_log_depth", "Fills in the dead-letter log.")
        self.upserts = self._counter(
            *("upserts_total", "Fills by what the worker did with them.", ("lane", "outcome")),
            worker=itertools.product(LANES, Stored),
        )
        self.dead_letters = self._counter(
            "dead_letters_total", "Fills given up, by reason.", ("reason",), worker=DEAD_REASONS
        )
        self.retries = self._counter("retries_total", "Fills put off, by reason.", ("reason",), worker=RETRY_REASONS)
        self.batch = self._histogram("batch_fills", "Fills in a batch.", BATCH_BUCKETS, ("lane",), worker=LANES)
        self.lag = self._histogram("lag_seconds", "From fill to searchable.", LAG_BUCKETS, ("lane",), worker=LANES)
        self.embed_calls = self._counter("embed_calls_total", "Embedding calls.", ("side",))
        self.embed_texts = self._counter(
            "embed_texts_total", "Texts embedded, as often as they were asked for.", ("side",)
        )
        self.embed_tokens = self._counter("embed_tokens_total", "Tokens embedded, as the provider counts.", ("side",))
        self.embed_dollars = self._counter("embed_dollars_total", "Dollars spent on embedding.", ("side",))
        self.flights = self._counter("flights_total", "Misses of get_or_create by who asked the model.", ("outcome",))
        self.reconnects = self._counter(
            "reconnects_total", "Connections given up for what the server said, by server.", ("server", "reason")
        )
        self.wakeups = self._counter("wakeups_total", "Wake-up messages by outcome.", ("outcome",))

    def _index(self) -> None:
        self.heals = self._counter(
            "index_heals_total", "Times the index was made again, by reason.", ("reason",), worker=HEAL_REASONS
        )
        self.entries = self._gauge("index_entries", "Entries in the index.")
        self.index_vector_bytes = self._gauge("index_vector_bytes", "Bytes of the living vectors of the index.")
        self.index_memory = self._gauge("index_memory_bytes", "Memory of all indexes of the server.")
        self.reclaimable = self._gauge("index_reclaimable_bytes", "Bytes of dead vectors of the index.")
        self.index_failures = self._gauge("index_failures", "Hashes that the index skipped.")
        self.index_backfill = self._gauge("index_backfill_ratio", "Share of the entries that the index has read.")
        self.generation = self._gauge("index_generation", "Generation of the index that readers use.")
        self.rotations = self._counter(
            "rotations_total", "Steps of index rotations that this worker took.", ("step",), worker=ROTATION_STEPS
        )
        self.write_verifications = self._counter(
            "write_verifications_total", "Entries looked for right after they were written, by outcome.", ("outcome",)
        )
        self.invalidated = self._counter(
            "invalidated_entries_total", "Entries removed on demand, by what was asked for.", ("by",)
        )
        self.probes = self._counter(
            "recall_probes_total", "Entries asked for by their own vector.", ("outcome",), worker=("found", "missed")
        )
        self.replica_lag = self._gauge("replica_lag_seconds", "How far a local replica is behind.", (), "livemax")
        self.replica_entries = self._gauge("replica_entries", "Entries in a local replica.", (), "livemax")
        self.replica_memory = self._gauge("replica_memory_bytes", "Memory of local replicas.", (), "livesum")
        self.replica_ready = self._gauge("replica_ready", "Local replicas that serve.", (), "livesum")
        self.replica_left_out = self._gauge("replica_left_out", "Entries without room in a replica.", (), "livemax")
        self.replica_loads = self._gauge(
            "replica_loads", "Full loads of local replicas, by reason.", ("reason",), "livesum"
        )

    def _verification(self) -> None:
        self.verify_requests = self._counter(
            "verify_requests_total", "Semantic hits drawn for verification, by what became of them.", ("outcome",)
        )
        self.verify_requests.start(VERIFY_OUTCOMES)
        self.verifications = self._counter(
            "verifications_total", "Hits verified, by verdict.", ("verdict",), worker=VERIFICATIONS
        )
        self.verify_dollars = self._counter("verify_dollars_total", "Dollars spent on verification.", worker=[()])
        self.threshold_raises = self._counter(
            "threshold_raises_total", "Thresholds that verification has raised.", worker=[()]
        )
        self.verified_hits = self._gauge("verified_hits", "Verified hits that count now, by verdict.", ("verdict",))
        self._false_share = self._gauge(
            "false_hit_ratio", "Measured share of false hits among semantic hits, and its bounds.", ("bound",)
        )
        self._false_budget = self._gauge("false_hit_budget", "Share of semantic hits that may be false.")

    def _processes(self) -> None:
        labels = ("role", "model", "engine", "version")
        self._info = self._gauge("info", "1 for every kind of process, and what it is set to.", labels, "livemax")
        self.worker_live = self._gauge("worker_live", "1 while the worker makes progress.")
        self.worker_ready = self._gauge("worker_ready", "1 while the worker reaches everything that it needs.")
        self.worker_stuck = self._gauge("worker_stuck_seconds", "Since when there is work and none of it gets done.")

    def show_false_hits(self, measured: Share | None, budget: float | None = None) -> None:
        """Say how many semantic hits are false, and how many may be; ``None`` where nothing is known."""
        ends = (measured.value, measured.low, measured.high) if measured is not None else (None,) * 3
        for bound, value in zip(("measured", "low", "high"), ends, strict=True):
            self._false_share[bound].set(UNKNOWN if value is None else value)
        if budget is not None:
            self._false_budget.set(budget)

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
                    self._refusals[nearest.refusal].inc()
        stages = self._stages
        for stage, seconds in outcome.stages.items():
            if stage in stages:
                stages[stage].observe(seconds)
        if self._shared:
            self._write_gauges()

    def _write_gauges(self) -> None:
        """Write this process's gauges down now and then: the scrape may be answered by another process."""
        now = time.monotonic()
        if now - self._refreshed_at >= _REFRESH_SECONDS:
            self._refreshed_at = now
            self.series.before_scrape.run()

    def count_embedding(self, side: str, calls: int, texts: int, tokens: int, dollars: float) -> None:
        """Count embedded texts and the calls they took; ``side`` is ``read``, ``write`` or ``bulk``."""
        self.embed_calls[side].inc(calls)
        self.embed_texts[side].inc(texts)
        if tokens:
            self.embed_tokens[side].inc(tokens)
            self.embed_dollars[side].inc(dollars)

    def count_error(self, stage: str, error: BaseException) -> None:
        """Count a failure under the stage it happened in and the name of its class."""
        self._errors[stage, type(error).__name__].inc()

    def reconnecting(self, server: str) -> Callable[[str], None]:
        """Return what counts a lost connection to a server, ``cache`` or ``log``, by its reason."""
        return lambda reason: self.reconnects[server, reason].inc()

    def _observe_engine(self) -> None:
        if self._engine is None:
            return
        engine = self._engine()
        if engine is None:
            self._forget_replica()
        look = getattr(engine, "stats", None)  # the server-side engine has no replica
        if look is None:
            return
        stats = look()
        self.replica_lag.set(stats.lag_seconds)
        self.replica_entries.set(stats.entries)
        self.replica_memory.set(stats.memory_bytes)
        self.replica_ready.set(stats.ready)
        self.replica_left_out.set(stats.left_out)
        for reason, loads in stats.bootstraps.items():
            self.replica_loads[reason].set(loads)

    def _forget_replica(self) -> None:
        """Say once of a replica that is gone that there is none, where there was one."""
        self._engine = None
        if self.replica_ready:
            self.replica_ready.set(0)
            self.replica_memory.set(0)
            for gauge in (self.replica_lag, self.replica_entries, self.replica_left_out):
                gauge.set(UNKNOWN)
