"""Assembly: builds from settings the components that both caches share, except connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain import hit_policy
from nearhit.domain.question import read_question
from nearhit.domain.sight import sight_of
from nearhit.embedding.deadline_embedder import DeadlineEmbedder
from nearhit.embedding.joined_embedder import JoinedEmbedder
from nearhit.embedding.resolve import embedder_for
from nearhit.embedding.vector_cache import VectorCache
from nearhit.errors import ConfigError
from nearhit.flow.gate import Gate
from nearhit.index.opening import Plan
from nearhit.judge.deadline_judge import DeadlineJudge
from nearhit.judge.resolve import judge_for
from nearhit.judge.second_stage import SecondStage
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.telemetry.metrics import Metrics
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.search_protocol import Hnsw
from nearhit.valkey.server import Server, server_of
from nearhit.verification.sampler import Drawing, Sampler
from nearhit.write.broker_url import broker_of
from nearhit.write.wakeup import CeleryWakeUp, NoWakeUp, WakeUp

if TYPE_CHECKING:
    import redis

    from nearhit.domain.hit_policy import GuardPort, Lifetimes, Rules
    from nearhit.flow.ports import Embedder, Link, PairJudge
    from nearhit.read.live_thresholds import LiveRules
    from nearhit.settings import Settings


_JUDGE_SECONDS = 5.0
"""How long no judge is asked after failures in a row: a call is paid, and costs one lookup its judging time."""


@dataclass(frozen=True, slots=True)
class Components:
    """Components that both caches share, except connections.

    Attributes:
        settings: what was set.
        embedder: what turns texts into vectors.
        metrics: every series.
        rules: what a hit must satisfy.
        lifetimes: how long entries live.
        gate: breakers and counts around every step.
        log_keys: names of the fill log.
        log_breaker: the breaker of the log's server.
        wakeup: how workers are told.
        plan: how to open the space.
        server: where the cache is.
        log_server: where the fill log is.
        judging: the second stage; ``None`` where it is off.
    """

    settings: Settings
    embedder: Embedder
    metrics: Metrics
    rules: Rules
    lifetimes: Lifetimes
    gate: Gate
    log_keys: LogKeys
    log_breaker: CircuitBreaker
    wakeup: WakeUp
    plan: Plan
    server: Server
    log_server: Server
    judging: SecondStage | None = None

    @property
    def judge(self) -> DeadlineJudge | None:
        """The judge of the second stage, held to its deadline."""
        return self.judging.judge if self.judging is not None else None


def assemble(
    settings: Settings,
    *,
    client: Any = None,
    embedder: Embedder | None = None,
    guard: GuardPort | None = None,
    judge: PairJudge | None = None,
    metrics: Metrics | None = None,
) -> Components:
    """Return the components that ``settings`` describe; connects to nothing and loads no model.

    Args:
        settings: what is set.
        client: the caller's own redis-py client for the cache server, sync or asyncio.
        embedder: the caller's own embedder instead of ``settings.model``.
        guard: the caller's own guard instead of the one that ships.
        judge: the caller's own judge instead of ``settings.judge``.
        metrics: series to count in; ``None`` makes a registry of its own.
    """
    if guard is None and settings.guard:
        from nearhit.guard import Guard  # noqa: PLC0415 - its weights are read only where a guard is wanted

        guard = Guard()
    embedder = JoinedEmbedder(within_deadline(embedder) if embedder is not None else embedder_for(settings.model))
    metrics = metrics or Metrics(namespace=settings.namespace)
    metrics.describe("client", model=embedder.name, engine=settings.engine, threshold=settings.threshold)
    judging = _judging(settings, judge, metrics)
    judge_breaker = CircuitBreaker(cool_down_seconds=_JUDGE_SECONDS) if judging is not None else None
    server = settings.server() if client is None else server_of(client)
    log_server = settings.log_server() if client is None or settings.log_url else server
    return Components(
        settings=settings,
        embedder=embedder,
        metrics=metrics,
        rules=hit_policy.Rules(
            settings.threshold,
            guard,
            settings.neighbours,
            sight_of=sight_of(embedder),
            closer=embedder.in_process,
        ),
        lifetimes=settings.lifetimes(),
        gate=Gate(CircuitBreaker(), CircuitBreaker(), metrics, "read", judge_breaker),
        log_keys=LogKeys(settings.namespace),
        log_breaker=CircuitBreaker(),
        wakeup=wakeup_of(settings, log_server, metrics),
        plan=plan_of(settings, embedder.name, server),
        server=server,
        log_server=log_server,
        judging=judging,
    )


def sampler_of(parts: Components, link: Link, live: LiveRules) -> Sampler:
    """Return what draws hits for verification, over a link to the log's server."""
    drawing = Drawing(parts.settings.verify_share, parts.settings.verify_model, read_question)
    return Sampler(parts.log_keys, link, parts.wakeup, live, parts.metrics, drawing)


def plan_of(settings: Settings, model: str, server: Server) -> Plan:
    """Return how to open the space that ``settings`` describe on ``server``."""

    def follow() -> redis.Redis:
        if server.is_cluster:
            raise ConfigError("the local engine cannot follow a cluster; take engine 'valkey-search'")
        return server.single_client()

    return Plan(
        namespace=settings.namespace,
        model=model,
        engine=settings.engine,
        hnsw=Hnsw(settings.hnsw_m, settings.hnsw_ef_construction, settings.hnsw_ef_runtime),
        local_max_entries=settings.local_max_entries,
        connect=follow,
        vectors=VectorCache(settings.vector_cache_entries),
        cluster=server.is_cluster,
        shared_index=settings.shared_index,
    )


def within_deadline(embedder: Embedder) -> Embedder:
    """Return a caller's embedder so that it keeps its time limit; one that works in this process is trusted."""
    return embedder if embedder.in_process else DeadlineEmbedder(embedder)


def _judging(settings: Settings, judge: PairJudge | None, metrics: Metrics) -> SecondStage | None:
    judge = judge or judge_for(settings.judge, settings.judge_level)
    if judge is None:
        return None
    return SecondStage(
        DeadlineJudge(judge),
        metrics,
        seconds=settings.judge_deadline_ms / 1000,
        below=settings.judge_below,
        accept_on_failure=settings.judge_on_failure == "accept",
    )


def wakeup_of(settings: Settings, log_server: Server, metrics: Metrics) -> WakeUp:
    """Return how workers are told: through ``broker_url``, else through the log's server, if Celery can use it."""
    url = broker_of(settings.broker_url, log_server)
    return CeleryWakeUp(url, settings.namespace, metrics) if url else NoWakeUp()
