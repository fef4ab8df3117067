# Made by tools/make_blocking.py from nearhit/async_cache.py: change that file, then run `make twins`.
"""Cache: ``SemanticCache``, for blocking callers."""

from __future__ import annotations

import functools
import sys
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from nearhit.admin.invalidate import PAGE_SECONDS, TASK_INVALIDATE, Invalidated, Which, select, sweep
from nearhit.assembly import assemble, sampler_of
from nearhit.domain.outcome import FillOutcome, Hit, Miss, MissReason
from nearhit.domain.question import listed_prompts, read_question
from nearhit.flow.batch import together
from nearhit.flow.calls import call_blocking
from nearhit.flow.runner import Runner, run_sends
from nearhit.index.litellm_layout import check_own_layout
from nearhit.read.call_scope import CallReader
from nearhit.read.failsafe import Failsafe
from nearhit.read.live_thresholds import LiveRules
from nearhit.read.lookup import lookup as lookup_flow
from nearhit.read.opener import Opener
from nearhit.read.readiness import OPEN_SECONDS, Readiness, closed
from nearhit.read.single_flight import FORGET_SECONDS, JOIN_SECONDS, Joined, SingleFlight
from nearhit.resilience.background import end_all
from nearhit.resilience.closing import Closing
from nearhit.resilience.undo import unless_finished
from nearhit.settings import Settings
from nearhit.valkey.links import Links
from nearhit.write import task_request
from nearhit.write.broker_url import broker_of
from nearhit.write.fill_encoding import FillOptions, encode_fill, lane_of, life_of
from nearhit.write.publisher import Publisher
from nearhit.write.refresh_queue import Refreshes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    import redis

    from nearhit.domain.hit_policy import GuardPort
    from nearhit.domain.question import Question
    from nearhit.domain.scope import Scope
    from nearhit.flow.ports import Embedder, PairJudge
    from nearhit.index.local import ReplicaStats
    from nearhit.read.failsafe import Accept
    from nearhit.telemetry.metrics import Metrics

P = ParamSpec("P")
R = TypeVar("R")


class SemanticCache:
    """Semantic cache: returns a stored answer for a question with the same meaning. Thread-safe, fork-safe.

    Nothing connects or loads until the first call; the embedding model and the index
    are opened in the background, and lookups until then are misses named ``warming``. ``warm_up`` waits for it.

    Args:
        settings: everything that can be set.
        client: the caller's own client for the cache server instead of the one that ``settings`` describe.
        embedder: the caller's own embedder instead of ``settings.model``.
        guard: the caller's own guard instead of the one that ships.
        judge: the caller's own judge of the second stage instead of ``settings.judge``; see ``PairJudge``.
        metrics: series to count in; without it a registry of its own, at ``metrics.registry``.

    Raises:
        ConfigError: a setting is wrong; the message names it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        client: redis.Redis | redis.RedisCluster | None = None,
        embedder: Embedder | None = None,
        guard: GuardPort | None = None,
        judge: PairJudge | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._components = parts = assemble(
            settings, client=client, embedder=embedder, guard=guard, judge=judge, metrics=metrics
        )
        self._links = Links(parts.server, parts.log_server, settings.enqueue_deadline_ms / 1000, parts.metrics, client)
        log = self._links.background
        self._runner = Runner(self._links.cache, parts.embedder, parts.gate, parts.judge)
        self._publisher = Publisher(
            parts.log_keys,
            log,
            parts.wakeup,
            parts.metrics,
            parts.log_breaker,
            self._links.fill,
            max_fills=settings.spool_max_fills,
            durability=settings.durability,
        )
        self._refreshes = Refreshes(parts.log_keys, log, parts.wakeup, parts.metrics)
        self._live = LiveRules(parts.log_keys, log, parts.rules, settings.lowest_threshold, parts.metrics)
        self._sampler = sampler_of(parts, log, self._live)
        self._flights = SingleFlight(parts.log_keys, log, parts.metrics, settings.single_flight_ms / 1000)
        self._readiness = Readiness(parts.metrics)
        self._failsafe = Failsafe(parts.metrics)
        self._opener = Opener(parts.plan, self._runner, self._readiness, self._live, self._failsafe, parts.judging)
        self._closed = False
        self._exiting = sys.is_finalizing  # held here: while the interpreter ends, modules lose their names
        self._at_exit = Miss(reason=MissReason.CLOSED, detail="the interpreter is exiting")
        ending = (self._refreshes, self._sampler, self._live, parts.wakeup, self._readiness, self._links)
        self._dropped = weakref.finalize(self, end_all, *ending)
        self._dropped.atexit = False

    @classmethod
    def from_env(cls, **changes: Any) -> Self:
        """Return a cache with the settings of the environment; see ``Settings.from_env``."""
        return cls(Settings.from_env(**changes))

    @property
    def metrics(self) -> Metrics:
        """Every series of this cache."""
        return self._components.metrics

    @property
    def settings(self) -> Settings:
        """What this cache was made with."""
        return self._components.settings

    @property
    def replica(self) -> ReplicaStats | None:
        """How far this process's replica of the entries is; ``None`` until it is open, or where the server searches."""
        return self._readiness.replica

    def lookup(
        self,
        prompt: Any,
        scope: Scope | Mapping[str, Any] | None = None,
        *,
        accept: Accept | None = None,
    ) -> Hit | Miss:
        """Return the answer to a question that means the same, or why there is none.

        Args:
            prompt: a text, a chat's messages, or the ``input`` of the Responses API; see ``prompt.read_prompt``.
            scope: who may share the answer, and what it depends on: a ``Scope``, or a mapping of its attributes and
                further parameters.
            accept: has the last word on a hit; one for which it returns False is a miss ``refused``.
                ``AsyncSemanticCache`` awaits an asynchronous one; for ``SemanticCache`` such a one accepts nothing.

        Returns:
            A ``Hit`` or a ``Miss``, within ``deadline_ms`` whatever fails. Never raises.
        """
        if self._exiting():
            return self._at_exit
        started = time.monotonic()
        query: Question | None = None
        try:
            asked = read_question(prompt, scope)
            if isinstance(asked, Miss):
                return self._failsafe.finish(asked, started)
            query = asked
            outcome = self._failsafe.judged(self._look_up(query, started), query, accept)
        except Exception as error:  # noqa: BLE001 - the edge of the read path: a broken cache never breaks its caller
            outcome = self._failsafe.lookup_broke(error, query)
        self._ask_refresh(outcome)
        self._sampler.consider(outcome, prompt, scope)
        return self._failsafe.finish(outcome, started)

    def lookup_many(self, prompts: Sequence[Any], scope: Scope | Mapping[str, Any] | None = None) -> list[Hit | Miss]:
        """Return the outcome of a lookup for each prompt, in order, with one embedding call and few round trips.

        Args:
            prompts: as for ``lookup``.
            scope: for all of them.

        Returns:
            A ``Hit`` or a ``Miss`` for each, all within ``deadline_ms``; a batch that takes longer to embed should be
            given in parts, or a longer deadline. Where ``prompts`` is no list, one ``Miss`` that says so. Never raises.
        """
        started = time.monotonic()
        listed = listed_prompts(prompts)
        if isinstance(listed, Miss):
            return [self._failsafe.finish(listed, started)]
        if self._exiting():
            return [self._at_exit for _ in listed]
        asked = [read_question(prompt, scope) for prompt in listed]
        queries = [one for one in asked if not isinstance(one, Miss)]
        try:
            found = iter(self._look_up_many(queries, started))
        except Exception as error:  # noqa: BLE001 - the edge of the read path: a broken cache never breaks its caller
            found = iter([self._failsafe.lookup_broke(error, query) for query in queries])
        outcomes = [self._failsafe.finish(one if isinstance(one, Miss) else next(found), started) for one in asked]
        for outcome, prompt in zip(outcomes, listed, strict=True):
            self._ask_refresh(outcome)
            self._sampler.consider(outcome, prompt, scope)
        return outcomes

    def fill(
        self,
        asked: Any,
        answer: Any,
        scope: Scope | Mapping[str, Any] | None = None,
        **options: Unpack[FillOptions],
    ) -> FillOutcome:
        """Put an answer onto the queue; a worker makes it searchable.

        Args:
            asked: the ``Miss`` that a lookup gave, so that the question is not embedded again, or a prompt.
            answer: text or other JSON.
            scope: as for ``lookup``; not used with a ``Miss``, which knows it.
            **options: ``ttl_seconds``, ``fresh_seconds``, ``usage``, ``refresh``, ``lane``; see ``FillOptions``.

        Returns:
            ``accepted``: the log's server has it, or its disk has, as ``durability`` says. ``spooled``: the server did
            not say so in time; it waits in memory. ``dropped``: the memory is full, or the cache is closed.
            ``refused``: it can never be stored; logged. ``bypassed``: the prompt cannot be cached. Within
            ``enqueue_deadline_ms``; never raises.
        """
        if self._exiting():
            return FillOutcome.DROPPED
        try:
            query = asked if isinstance(asked, Miss) else read_question(asked, scope)
            if isinstance(query, Miss) and query.bypass:
                self.metrics.fills[FillOutcome.BYPASSED].inc()
                return FillOutcome.BYPASSED
            blob = encode_fill(self._components.lifetimes, query, answer, options)
            seconds = self._components.settings.enqueue_deadline_ms / 1000
            return self._publisher.publish(blob, lane_of(options), seconds)
        except Exception as error:  # noqa: BLE001 - the edge of the write path's caller side
            return self._failsafe.fill_broke(error)

    def get_or_create(
        self,
        prompt: Any,
        create: Callable[[], R],
        scope: Scope | Mapping[str, Any] | None = None,
        **options: Unpack[FillOptions],
    ) -> R | Any:
        """Return the cached answer, or the one that ``create`` gives, which is then put onto the queue.

        Of many processes that miss the same question at once one runs ``create``, and the others wait for its answer,
        up to ``single_flight_ms``; when it fails or is killed, another one does.

        Args:
            prompt: as for ``lookup``.
            create: asks the model; what it raises comes out.
            scope: as for ``lookup``.
            **options: as for ``fill``.
        """
        if self._exiting():
            return create()
        outcome = self.lookup(prompt, scope)
        if isinstance(outcome, Hit):
            return outcome.answer
        flight = run_sends(self._flights.join(outcome), self._links.log, JOIN_SECONDS)
        if isinstance(flight, Joined):
            return flight.answer
        with unless_finished(lambda: self._flights.abandon(flight)):
            answer = create()
        self.fill(outcome, answer, **options)
        self._flights.land(flight, answer, life_of(self._components.lifetimes, options))
        return answer

    def cached(
        self, scope: Scope | Mapping[str, Any] | None = None, **options: Unpack[FillOptions]
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Return a decorator for a function whose first parameter is the prompt and whose result is the answer.

        The function's name and its other arguments belong to the scope.

        Args:
            scope: as for ``lookup``.
            **options: as for ``fill``.
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            reader = CallReader(function, scope)

            @functools.wraps(function)
            def ask(*args: P.args, **kwargs: P.kwargs) -> R:
                prompt, whole = reader.read(args, kwargs)
                answer: R = self.get_or_create(prompt, lambda: function(*args, **kwargs), whole, **options)
                return answer

            return ask

        return decorate

    def warm_up(self, timeout_seconds: float = OPEN_SECONDS) -> bool:
        """Load the model and open the index; return whether both are ready. Never raises."""
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end and not self._closed:
            space = self._opener.space(end - time.monotonic())
            if space is not None and space.engine.wait_ready(0.0):
                return True
            time.sleep(0.01)
        return False

    def invalidate(self, *, dry_run: bool = False, queued: bool = False, **which: Unpack[Which]) -> Invalidated:
        """Remove entries before their time; what waits in the queue is not looked at.

        Args:
            dry_run: only count what would go.
            queued: let a worker do it: for a large cache, or where the caller cannot wait.
            **which: ``prompt``, ``scope``, ``tenant``, ``older_than_seconds``, ``embedder``, ``everything``; see
                ``Which``. Several narrow it down.

        Raises:
            ConfigError: nothing is selected, a value is out of range, or the layout is LiteLLM's.
            ContractError: the prompt or the scope cannot be cached at all.
            StoreUnavailableError: a server does not answer; what was removed until then stays removed.
        """
        check_own_layout(self._components.settings, "invalidate")
        selection = select(which)
        if queued and not dry_run:
            url = broker_of(self._components.settings.broker_url, self._components.log_server)
            row = {"selection": selection.to_message()}
            namespace = self._components.settings.namespace
            call_blocking(partial(task_request.send, url, namespace, TASK_INVALIDATE, row))
            return Invalidated(queued=True)
        if not dry_run:
            run_sends(self._flights.forget(), self._links.log, FORGET_SECONDS)
        done = Invalidated()
        while not done.finished:
            flow = sweep(self._components.settings.namespace, selection, done, dry_run=dry_run)
            done = self._runner.run(flow, PAGE_SECONDS)
        self.metrics.invalidated[selection.by].inc(done.removed)
        return done

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until the log has every fill that waits in memory; return whether it has.

        For fills that were ``spooled``; one that was ``accepted`` needs no waiting.
        """
        call_blocking(partial(self._publisher.flush, timeout_seconds))
        return not self._publisher.spooled

    def close(self) -> None:
        """Send what is spooled and close what this cache opened, within a second in all, whatever hangs."""
        self._closed = True
        if self._exiting():  # its threads stand still, and may hold what closing would wait for
            return
        self._dropped.detach()
        self._opener.cancel()
        call_blocking(self._close_threads)
        self._links.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_threads(self) -> None:
        closing = Closing()
        for part in (self._refreshes, self._sampler, self._live, self._flights):
            part.close(closing.until(0.3))
        self._publisher.close(closing.until(0.9))
        self._readiness.close(closing.until(1.0))

    def _ask_refresh(self, outcome: Hit | Miss) -> None:
        if isinstance(outcome, Hit) and outcome.refreshable and not outcome.fresh:
            self._refreshes.ask(outcome.key)

    def _look_up(self, query: Question, started: float) -> Hit | Miss:
        if self._closed:
            return closed(query)
        left = self._components.settings.deadline_ms / 1000
        space = self._opener.opened
        if space is None:
            space = self._opener.space(left)
            left -= time.monotonic() - started
        if space is None:
            return self._readiness.miss(query)
        stages: dict[str, float] = {}
        flow = lookup_flow(query, space, self._live.of(query), stages, self._components.judging)
        outcome = self._runner.run(flow, left, stages)
        self._readiness.heed(outcome)
        return outcome

    def _look_up_many(self, queries: Sequence[Question], started: float) -> list[Hit | Miss]:
        if self._closed:
            return [closed(query) for query in queries]
        budget = self._components.settings.deadline_ms / 1000
        space = self._opener.space(budget)
        if space is None:
            return [self._readiness.miss(query) for query in queries]
        judging = self._components.judging
        flows = [lookup_flow(query, space, self._live.of(query), {}, judging) for query in queries]
        outcomes = self._runner.run(together(flows), budget - (time.monotonic() - started))
        for outcome in outcomes:
            self._readiness.heed(outcome)
        return outcomes
