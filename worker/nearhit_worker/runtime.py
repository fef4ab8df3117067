"""Runtime: the components of one worker process, built once, and what they do at regular times."""

from __future__ import annotations

import functools
import logging
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from nearhit.admin.invalidate import PAGE_SECONDS, Invalidated, sweep
from nearhit.assembly import plan_of
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ContractError, NearhitError, UnavailableError
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.index.opening import open_space
from nearhit.read import single_flight
from nearhit.read.readiness import OPEN_SECONDS
from nearhit.resilience.backoff import Backoff
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.telemetry.metrics import LANES, Metrics
from nearhit.valkey.durability import FSYNC
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_to
from nearhit.verification import request as verification
from nearhit.verification.judges import judge_of
from nearhit.verification.verifier import MAX_BATCH as MAX_VERIFICATIONS
from nearhit.verification.verifier import Verifier, Verifying
from nearhit.verification.watch import watch_of
from nearhit.write import consumer_group, fill_log, refresh_queue
from nearhit.write.acknowledger import Acknowledger, Limits
from nearhit.write.batch_writer import BatchWriter
from nearhit.write.drain import Drain, Gathering
from nearhit.write.refresher import MAX_BATCH as MAX_REFRESHES
from nearhit.write.refresher import Refresher
from nearhit.write.wakeup import NoWakeUp
from nearhit_worker.gauges import LogGauges
from nearhit_worker.maintenance import Maintenance
from nearhit_worker.rows import REASON as ROW_REASON
from nearhit_worker.rows import sort_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.admin.invalidate import Selection
    from nearhit.flow.ports import Embedder, Link
    from nearhit.flow.steps import Flow
    from nearhit.index.space import Space
    from nearhit.settings import Settings
    from nearhit.write.wakeup import WakeUp

log = logging.getLogger("nearhit")

T = TypeVar("T")

INDEX_CHECK_SECONDS = 2.0
"""How often a worker looks whether the index is still there; a lost one is made again within twice this time."""

SLICE_SECONDS = 20.0
"""How long one task works on a large invalidation before another one continues, well within the visibility timeout."""

LAG_BEHIND_SECONDS = 30.0
"""How long a worker may go without any progress before it calls itself stuck."""

WORK_LANES = (*LANES, refresh_queue.LANE, verification.LANE)
"""The lanes that a worker empties: those of fills, and those of refreshes and verifications."""

IN_PROCESS_BULK_BATCH = 16
"""Bulk fills in a batch where the model runs in this process: a user's fill waits for no more than these."""

_SECONDS = 5.0


class Runtime:
    """The write path of one process. Thread-safe; nothing connects or loads before the first call.

    Args:
        settings: everything that can be set.
        metrics: series to count in.
        embedder: instead of the one that ``settings.model`` names.
        patience_seconds: how long it may go without any progress before it calls itself stuck.
        wakeup: how another thread or worker is asked for help.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        embedder: Embedder | None = None,
        wakeup: WakeUp | None = None,
        patience_seconds: float = LAG_BEHIND_SECONDS,
    ) -> None:
        self._patience_seconds = patience_seconds
        self.settings = settings
        self.metrics = metrics
        self.keys = LogKeys(settings.namespace)
        embedder = embedder or embedder_for(settings.model)
        server = settings.server()
        gate = _gate(metrics, "write")
        self._cache = _PartRunner("cache", link_to(server, metrics.reconnecting("cache")), embedder, gate)
        log_link = link_to(settings.log_server(), metrics.reconnecting("log"))
        self.log = _PartRunner("log", log_link, embedder, _gate(metrics, "write"))
        self._lifetimes = settings.lifetimes()
        self._plan = plan_of(settings, embedder.name, server)
        self._wakeup = wakeup or NoWakeUp()
        limits = Limits(settings.max_tries, settings.max_deliveries, settings.embed_timeout_ms / 1000)
        self._drain, self._refreshes, self._verifications = self._make_drains(embedder, limits)
        self._drains = (self._drain, self._refreshes, self._verifications)
        self._watch = watch_of(self.log, self.keys, metrics, settings)
        self._log_gauges = LogGauges(self.log, self.keys, metrics, WORK_LANES)
        metrics.describe("worker", model=embedder.name, engine=settings.engine, threshold=settings.threshold)
        self._maintenance = Maintenance(self._cache, metrics)
        self._space: Space | None = None
        self._lock = threading.Lock()
        # the model's own threads use all processors: a second bulk batch at once would only slow the users' fills
        bulk = 1 if embedder.in_process else max(1, settings.concurrency // 2)
        self._turns = {"bulk": threading.Semaphore(bulk)}
        self._turns |= {lane: threading.Semaphore(1) for lane in (refresh_queue.LANE, verification.LANE)}
        self._work_seconds = 2 * limits.embed_seconds + limits.store_seconds
        self._looked_at = dict.fromkeys(WORK_LANES, time.monotonic())
        self._waiting: dict[str, bytes | None] = {}
        self.failures: dict[str, str] = {}

    @property
    def last_error(self) -> str:
        """The newest failure of a background loop that has not succeeded since; empty for none."""
        failing = tuple(self.failures.items())
        return ": ".join(failing[-1]) if failing else ""

    def space(self) -> Space:
        """Return the open space, opening it at the first call.

        Raises:
            ConfigError: it cannot be opened as it is set.
            UnavailableError: a server or the embedder does not answer.
        """
        with self._lock:
            if self._space is None:
                self._space = self._cache.run(open_space(self._plan), OPEN_SECONDS).space
            return self._space

    def drain(self, lane: str) -> int:
        """Empty a lane; return how many were stored. All but users' fills leave threads free for those.

        Raises:
            NearhitError: a server or the embedder does not answer, the settings cannot work, or there is no such lane.
        """
        if lane not in WORK_LANES:
            raise ContractError(f"there is no such lane: {str(lane)[:80]!r}")
        turn = self._turns.get(lane)
        if turn is None:
            return self._drain_of(lane).run(lane)
        if not turn.acquire(blocking=False):
            return 0  # the threads that may work on it do so already
        try:
            return self._drain_of(lane).run(lane)
        finally:
            turn.release()

    def accept(self, rows: Any) -> int:
        """Add rows of other Celery clients to the log; return how many it took. A bad row becomes a dead letter.

        Raises:
            StoreUnavailableError: the log's server does not take them; none was added.
        """
        now_ms = time.time_ns() // 1_000_000
        found = sort_rows(rows, self._lifetimes, now_ms)
        flow = fill_log.take_in(self.keys, found.fills, found.refused, now_ms)
        fill_log.write(self.log, flow, _SECONDS, confirm=self.settings.durability == FSYNC)
        if found.refused:
            self.metrics.dead_letters[ROW_REASON].inc(len(found.refused))
        for lane in {lane for lane, _ in found.fills}:
            # the log has them: an embedder that is down now must not make the task add them once more
            run_quietly(f"tick_{lane}", self, functools.partial(self.drain, lane))
        return len(found.fills)

    def refuse(self, raw: bytes, reason: str, detail: str) -> None:
        """Make a dead letter of what is no fill; one that is too long loses its end.

        Raises:
            StoreUnavailableError: the log's server does not take it.
        """
        letter = [(raw[: fill_log.MAX_UNREADABLE_BYTES], reason, detail)]
        self.log.run(fill_log.take_in(self.keys, [], letter, time.time_ns() // 1_000_000), _SECONDS)
        self.metrics.dead_letters[reason].inc()

    def tick(self, lane: str) -> None:
        """Do what a lost wake-up, a silent worker or a waiting retry would leave undone.

        Raises:
            NearhitError: a server or the embedder does not answer.
        """
        try:
            self.drain(lane)
            self._drain_of(lane).take_over(lane)
        except UnavailableError:
            self._looked_at[lane] = time.monotonic()  # to wait for a part that is down is not to be stuck
            raise
        self._looked_at[lane] = time.monotonic()

    def watch(self) -> None:
        """Look whether the children of this process, or other workers, get on with the log.

        Raises:
            StoreUnavailableError: the log's server does not answer.
        """
        for lane in WORK_LANES:
            try:
                waiting = self.log.run(consumer_group.waiting(self.keys, lane), _SECONDS)
            except UnavailableError:
                self._looked_at[lane] = time.monotonic()  # to wait for a part that is down is not to be stuck
                raise
            if waiting is None or waiting != self._waiting.get(lane):
                self._looked_at[lane] = time.monotonic()
            self._waiting[lane] = waiting

    def stop_taking(self) -> None:
        """Let the batches in progress be the last ones: the process is about to end."""
        for drain in self._drains:
            drain.stop()

    def keep_alive(self) -> None:
        """Keep other workers from claiming what is in progress here."""
        for drain in self._drains:
            drain.keep_alive()

    def forget_consumers(self) -> None:
        """Remove workers that ended long ago from the log's group; one that left fills behind stays.

        Raises:
            StoreUnavailableError: the log's server does not answer.
        """
        for lane in WORK_LANES:
            self.log.run(consumer_group.forget_consumers(self.keys, lane), _SECONDS)

    def check_index(self) -> bool:
        """Make a lost index again and rotate a worn one; return whether it was lost.

        Raises:
            NearhitError: the server does not answer, or an index of another shape has its name.
        """
        space, lost = self._maintenance.look(self.space())
        with self._lock:  # what took the index may have taken the registry of embedders, too
            self._space = self._cache.run(open_space(self._plan, space), OPEN_SECONDS).space if lost else space
        return lost

    def invalidate(self, selection: Selection, cursor: str) -> Invalidated:
        """Remove entries for a while, from ``cursor`` on; return how far it has come.

        Raises:
            StoreUnavailableError: the server does not answer.
        """
        self.log.run(single_flight.forget(self.keys), _SECONDS)
        end = time.monotonic() + SLICE_SECONDS
        done = Invalidated(cursor=cursor)
        while not done.finished and time.monotonic() < end:
            done = self._cache.run(sweep(self.settings.namespace, selection, done), PAGE_SECONDS)
        self.metrics.invalidated[selection.by].inc(done.removed)
        return done

    def observe(self) -> None:
        """Set the gauges of the log.

        Raises:
            StoreUnavailableError: the log's server does not answer.
        """
        self._log_gauges.observe()

    def measure(self) -> None:
        """Look at the verified hits: set the gauges, and raise the threshold that broke its budget.

        Raises:
            StoreUnavailableError: the log's server does not answer.
        """
        self._watch.look()

    @property
    def stuck_seconds(self) -> float:
        """Seconds without any progress: no batch and no check of a lane has finished.

        A check that finds a server or the embedder down is progress, too: another process could do no more.
        """
        now = time.monotonic()
        handled_at = max(drain.handled_at for drain in self._drains)
        silence = now - max(min(self._looked_at.values()), handled_at)
        longest = max(drain.longest_work_seconds for drain in self._drains)
        return max(0.0, silence, longest - self._work_seconds)

    @property
    def stuck(self) -> bool:
        """Whether it went without progress for longer than it may."""
        return self.stuck_seconds > self._patience_seconds

    def close(self) -> None:
        """Close what this process opened."""
        self._wakeup.close()
        if self._space is not None:
            self._space.engine.close()

    def _make_drains(self, embedder: Embedder, limits: Limits) -> tuple[Drain, Drain, Drain]:
        """Return what empties the lanes of fills, that of refreshes and that of verifications."""
        settings, metrics = self.settings, self.metrics
        backoff = Backoff(ceiling_seconds=settings.retry_ceiling_seconds)
        acknowledger = Acknowledger(self.log, self.keys, metrics, backoff, limits)
        gathering = Gathering(
            settings.batch_max_fills,
            settings.batch_wait_ms / 1000,
            settings.claim_idle_ms,
            IN_PROCESS_BULK_BATCH if embedder.in_process else settings.batch_max_fills,
        )
        asking = replace(gathering, max_batch=MAX_REFRESHES, bulk_batch=MAX_REFRESHES)
        checking = replace(gathering, max_batch=MAX_VERIFICATIONS, bulk_batch=MAX_VERIFICATIONS)
        how = Verifying(judge_of(settings, embedder), settings.verify_window_seconds)
        writer = BatchWriter(self._cache, acknowledger, metrics, limits)
        refresher = Refresher(self._cache, acknowledger, metrics, limits)
        verifier = Verifier(self.log, self.keys, acknowledger, metrics, limits, how)
        return (
            Drain(self.log, self.keys, writer, self.space, gathering, self._recruit),
            Drain(self.log, self.keys, refresher, self.space, asking),
            Drain(self.log, self.keys, verifier, self.space, checking),
        )

    def _drain_of(self, lane: str) -> Drain:
        return {refresh_queue.LANE: self._refreshes, verification.LANE: self._verifications}.get(lane, self._drain)

    def _recruit(self, lane: str) -> None:
        """Wake one more thread, here or elsewhere, for a lane that is more than a batch behind."""
        if self.log.run(consumer_group.wants_help(self.keys, lane), _SECONDS):
            self._wakeup.notify(lane)


class _PartRunner(Runner):
    """Runs flows against one server, and names it in their failures."""

    def __init__(self, part: str, link: Link, embedder: Embedder, gate: Gate) -> None:
        super().__init__(link, embedder, gate)
        self._part = part

    def run(self, flow: Flow[T], seconds: float, stages: dict[str, float] | None = None) -> T:
        try:
            return super().run(flow, seconds, stages)
        except UnavailableError as error:
            error.part = error.part or self._part
            raise


def _gate(metrics: Metrics, side: str) -> Gate:
    """Return a gate whose breakers stay closed: a worker always retries, after its backoff."""
    return Gate(CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), metrics, side)


def run_quietly(action: str, runtime: Runtime, step: Callable[[], object]) -> None:
    """Run one step of a background loop; a failure is counted and logged."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 - whatever a step raises, its loop goes on
        runtime.failures[action] = f"{type(error).__name__}: {error}"
        report(action, runtime, error)
    else:
        runtime.failures.pop(action, None)


def report(action: str, runtime: Runtime, error: Exception) -> None:
    """Count and log a failure in the background; what a part that is away makes fail is one line a minute."""
    runtime.metrics.count_error(action, error)
    bug = error if not isinstance(error, NearhitError) else None
    part = getattr(error, "part", "")
    away = f"{part}: " if part else ""
    log.warning("%s%s failed: %s", away, action, error, exc_info=bug, extra={"action": action, "part": part})
