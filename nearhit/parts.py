"""Parts: builds from settings what both faces of the cache share."""

from __future__ import annotations

import base64
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

from nearhit import entry, message, policy, vectors
from nearhit.breaker import Breaker
from nearhit.broker import broker_of
from nearhit.connection import Server, server_of
from nearhit.embedding.deadline import DeadlineEmbedder
from nearhit.embedding.resolve import embedder_for
from nearhit.embedding.sight import sight_of
from nearhit.embedding.vector_cache import VectorCache
from nearhit.entry import Usage
from nearhit.errors import ConfigError, ContractError, EntryError, TooLargeError
from nearhit.judge.held import HeldJudge
from nearhit.judge.resolve import judge_for
from nearhit.judge.stage import Judging
from nearhit.keys import LogKeys
from nearhit.lookup import Query
from nearhit.message import SCOPE_DIGITS
from nearhit.metrics import LANES, Metrics
from nearhit.opening import Plan
from nearhit.outcome import Miss, MissReason
from nearhit.prompt import Bypass, read_prompt
from nearhit.protocol import Hnsw
from nearhit.scope import Scope, scope_digest, tenant_digest
from nearhit.shell import Gate
from nearhit.verification.sampler import Drawing, Sampler
from nearhit.wakeup import CeleryWakeUp, NoWakeUp, WakeUp

if TYPE_CHECKING:
    import redis

    from nearhit.embedding.port import Embedder
    from nearhit.judge.port import PairJudge
    from nearhit.link import Link
    from nearhit.policy import Judge, Lifetimes, Rules
    from nearhit.settings import Settings
    from nearhit.thresholds.live import LiveRules


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that a face of the cache is made of, but for its way to the servers.

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
    log_breaker: Breaker
    wakeup: WakeUp
    plan: Plan
    server: Server
    log_server: Server
    judging: Judging | None = None

    @property
    def judge(self) -> HeldJudge | None:
        """The judge of the second stage, held to its deadline."""
        return self.judging.judge if self.judging is not None else None


class FillOptions(TypedDict, total=False):
    """What may be said with an answer.

    Attributes:
        ttl_seconds: hard time to live; without it the setting.
        fresh_seconds: soft time to live; without it the setting.
        usage: tokens and dollars that the answer cost, counted as saved at every hit.
        refresh: how to ask the model again after the soft time to live: ``{"model": …, "messages": […]}``.
        lane: ``interactive``, or ``bulk`` for loads that must not stand in the way of users.
    """

    ttl_seconds: float
    fresh_seconds: float
    usage: Usage
    refresh: Mapping[str, Any]
    lane: str


def build(
    settings: Settings,
    *,
    client: Any = None,
    embedder: Embedder | None = None,
    guard: Judge | None = None,
    judge: PairJudge | None = None,
    metrics: Metrics | None = None,
) -> Parts:
    """Return the parts that ``settings`` describe; connects to nothing and loads no model.

    Args:
        settings: what is set.
        client: the caller's own redis-py client for the cache server, sync or asyncio.
        embedder: the caller's own embedder instead of ``settings.model``.
        guard: the caller's own guard instead of the one that ships.
        judge: the caller's own judge instead of ``settings.judge``.
        metrics: series to count in; ``None`` makes a registry of its own.
    """
    embedder = within_deadline(embedder) if embedder is not None else embedder_for(settings.model)
    metrics = metrics or Metrics(namespace=settings.namespace, threshold=settings.threshold)
    metrics.describe("client", model=embedder.name, engine=settings.engine, threshold=settings.threshold)
    judging = _judging(settings, judge, metrics)
    server = settings.server() if client is None else server_of(client)
    log_server = settings.log_server() if client is None or settings.log_url else server
    return Parts(
        settings=settings,
        embedder=embedder,
        metrics=metrics,
        rules=policy.Rules(
            settings.threshold,
            guard or _guard(settings),
            settings.neighbours,
            sight_of=sight_of(embedder),
            closer=embedder.in_process,
        ),
        lifetimes=settings.lifetimes(),
        gate=Gate(Breaker(), Breaker(), metrics, "read", _judge_breaker() if judging is not None else None),
        log_keys=LogKeys(settings.namespace),
        log_breaker=Breaker(),
        wakeup=wakeup_of(settings, log_server, metrics),
        plan=plan_of(settings, embedder.name, server),
        server=server,
        log_server=log_server,
        judging=judging,
    )


def sampler_of(parts: Parts, link: Link, live: LiveRules) -> Sampler:
    """Return what draws hits for verification, over a link to the log's server."""
    drawing = Drawing(parts.settings.verify_share, parts.settings.verify_model, read_question)
    return Sampler(parts.log_keys, link, parts.wakeup, live, parts.metrics, drawing)


def plan_of(settings: Settings, model: str, server: Server) -> Plan:
    """Return how to open the space that ``settings`` describe on ``server``."""
    return Plan(
        namespace=settings.namespace,
        model=model,
        engine=settings.engine,
        hnsw=Hnsw(settings.hnsw_m, settings.hnsw_ef_construction, settings.hnsw_ef_runtime),
        local_max_entries=settings.local_max_entries,
        connect=lambda: _follower_client(server),
        vectors=VectorCache(settings.vector_cache_entries),
        cluster=server.is_cluster,
        shared_index=settings.shared_index,
    )


def within_deadline(embedder: Embedder) -> Embedder:
    """Return a caller's embedder so that it keeps its time limit; one that works in this process is trusted."""
    return embedder if embedder.in_process else DeadlineEmbedder(embedder)


def read_question(prompt: Any, scope: Scope | Mapping[str, Any] | None) -> Query | Miss:
    """Return the query for a prompt in a scope, or the miss that says why it cannot be cached. Never raises."""
    question = read_prompt(prompt)
    if isinstance(question, Bypass):
        return Miss(reason=MissReason(question.value))
    try:
        who = Scope.of(scope)
        return Query(question.text, scope_digest(who, question.context), tenant_digest(who.tenant))
    except TooLargeError as error:
        return Miss(reason=MissReason.BYPASS_TOO_LARGE, detail=str(error))
    except ContractError as error:
        return Miss(reason=MissReason.BYPASS_SCOPE, detail=str(error))
    except Exception as error:  # noqa: BLE001 - the methods of a caller's own mapping raise whatever they like
        return Miss(reason=MissReason.BYPASS_SCOPE, detail=f"the scope cannot be read: {type(error).__name__}")


def listed_prompts(prompts: Any) -> list[Any] | Miss:
    """Return the prompts of a ``lookup_many``, or the miss that says why there are none. Never raises."""
    if isinstance(prompts, str | bytes | bytearray | Mapping):  # their letters and keys are no prompts
        return Miss(reason=MissReason.BYPASS_NOT_TEXT, detail=f"prompts are a list, not {type(prompts).__name__}")
    try:
        return list(prompts)
    except Exception as error:  # noqa: BLE001 - a caller's own iterable raises whatever it likes
        detail = f"prompts are a list, not {type(prompts).__name__}: {type(error).__name__}"
        return Miss(reason=MissReason.BYPASS_NOT_TEXT, detail=detail)


def lane_of(options: Mapping[str, Any]) -> str:
    """Return the lane that ``options`` name.

    Raises:
        ConfigError: there is no such lane.
    """
    lane = options.get("lane", "interactive")
    if lane not in LANES:
        raise ConfigError(f"lane must be one of {', '.join(LANES)}, not {lane!r}")
    return str(lane)


def life_of(lifetimes: Lifetimes, options: Mapping[str, Any]) -> float:
    """Return how many seconds an entry lives at least that is filled with ``options``."""
    asked = options.get("ttl_seconds")
    whole = lifetimes.ttl_seconds if asked is None else asked
    return whole * (1 - lifetimes.jitter) if isinstance(whole, int | float) else 0.0


def encode_fill(lifetimes: Lifetimes, asked: Miss | Query, answer: Any, options: Mapping[str, Any]) -> bytes:
    """Return the message that puts ``answer`` into the cache.

    Raises:
        EntryError: the answer is empty, not JSON or too large.
        ConfigError: a time to live or the lane is out of range.
    """
    if answer is None or answer == "":
        raise EntryError("the answer is empty")
    unknown = set(options) - FillOptions.__annotations__.keys()
    if unknown:
        raise ConfigError(f"fill has no option {sorted(unknown)[0]!r}")
    times = {name: options[name] for name in ("ttl_seconds", "fresh_seconds") if options.get(name) is not None}
    if times:
        lifetimes = replace(lifetimes, **times)
    ttl_ms, fresh_ms = lifetimes.milliseconds(random.random())  # noqa: S311 - spreads ends, guards nothing
    refresh = options.get("refresh")
    return message.encode(
        message.Fill(
            scope=asked.scope,
            tenant=asked.tenant,
            prompt=asked.prompt if isinstance(asked, Miss) else asked.text,
            response=entry.encode_response(answer),
            created_us=time.time_ns() // 1000,
            ttl_ms=ttl_ms,
            fresh_ms=fresh_ms,
            embedder=asked.embedder if isinstance(asked, Miss) else "",
            embedding=asked.vector if isinstance(asked, Miss) else b"",
            usage=options.get("usage"),
            refresh=entry.encode_response(dict(refresh)) if refresh else b"",
        )
    )


def fill_of(row: Mapping[str, Any], lifetimes: Lifetimes) -> tuple[str, bytes]:
    """Return the lane and the message of a fill that is described by a mapping, as other programs send it.

    Args:
        row: ``prompt`` and ``answer``; where wanted ``scope`` and what ``FillOptions`` has, ``usage`` as a mapping.
            A scope may be named by its digest, as ``Miss.scope`` says it: ``scope_digest``, with ``tenant_digest``
            where it has a tenant, instead of ``scope``. Rows of an export do so, and may carry ``vector`` (the unit
            vector in base64) with ``embedder`` (its fingerprint).
        lifetimes: for what the row does not say.

    Raises:
        ContractError: a field is missing or unknown, or the prompt cannot be cached; the message names it.
        ConfigError: a time to live or the lane is out of range.
    """
    missing = {"prompt", "answer"} - set(row)
    if missing:
        raise EntryError(f"the row has no field {sorted(missing)[0]!r}")
    asked = read_question(row["prompt"], _scope_of(row))
    if isinstance(asked, Miss):
        raise EntryError(f"the prompt cannot be cached: {asked.reason.value} {asked.detail}".rstrip())
    if row.get("scope_digest") is not None:
        asked = replace(asked, tenant=row.get("tenant_digest") or "")
    asked = _with_vector(row, asked)
    options = {name: value for name, value in row.items() if name not in _NOT_OPTIONS}
    if options.get("usage") is not None:
        try:
            options["usage"] = Usage(**options["usage"])
        except TypeError as error:
            raise EntryError(f"field 'usage' of the row cannot be read: {error}") from error
    return lane_of(options), encode_fill(lifetimes, asked, row["answer"], options)


_NOT_OPTIONS = frozenset({"prompt", "answer", "scope", "scope_digest", "tenant_digest", "vector", "embedder"})
_DIGESTS = {"scope_digest": re.compile(SCOPE_DIGITS), "tenant_digest": re.compile(r"[0-9a-f]{32}")}


def _scope_of(row: Mapping[str, Any]) -> Any:
    """Return the scope of a row, which names it in words, or by its digest as an export does.

    Raises:
        EntryError: a digest is no digest, or the scope is named both ways.
    """
    digest = row.get("scope_digest")
    if digest is None:
        return row.get("scope")
    if row.get("scope"):
        raise EntryError("the row has a field 'scope' and a field 'scope_digest', which stands for a whole scope")
    tenant = row.get("tenant_digest") or ""
    for name, value in (("scope_digest", digest), ("tenant_digest", tenant or "0" * 32)):
        if not isinstance(value, str) or not _DIGESTS[name].fullmatch(value):
            raise EntryError(f"field {name!r} of the row must be 32 hex digits, not {str(value)[:40]!r}")
    return Scope.from_digest(digest)


def _with_vector(row: Mapping[str, Any], asked: Query) -> Query | Miss:
    """Return the question with the vector that the row carries, checked for being a unit vector."""
    if not row.get("vector") or not row.get("embedder"):
        return asked
    try:
        blob = base64.b64decode(row["vector"], validate=True)
    except (TypeError, ValueError) as error:
        raise EntryError(f"field 'vector' of the row is not base64: {error}") from error
    unit = vectors.unit_rows(vectors.from_bytes(blob)[None, :])[0]
    return Miss(
        reason=MissReason.EMPTY,
        prompt=asked.text,
        scope=asked.scope,
        tenant=asked.tenant,
        vector=vectors.to_bytes(unit),
        embedder=str(row["embedder"]),
    )


def _guard(settings: Settings) -> Judge | None:
    if not settings.guard:
        return None
    from nearhit.guard import Guard  # noqa: PLC0415 - its weights are read only where a guard is wanted

    return Guard()


def _judging(settings: Settings, judge: PairJudge | None, metrics: Metrics) -> Judging | None:
    judge = judge or judge_for(settings.judge, settings.judge_level)
    if judge is None:
        return None
    return Judging(
        HeldJudge(judge),
        metrics,
        seconds=settings.judge_deadline_ms / 1000,
        below=settings.judge_below,
        accept_on_failure=settings.judge_on_failure == "accept",
    )


def _judge_breaker() -> Breaker:
    """A dead provider costs one lookup its judging time every five seconds; it is paid by the call, so no oftener."""
    return Breaker(cool_down_seconds=5.0)


def wakeup_of(settings: Settings, log_server: Server, metrics: Metrics) -> WakeUp:
    """Return how workers are told: through ``broker_url``, else through the log's server, if Celery can use it."""
    url = broker_of(settings.broker_url, log_server)
    return CeleryWakeUp(url, settings.namespace, metrics) if url else NoWakeUp()


def _follower_client(server: Server) -> redis.Redis:
    if server.is_cluster:
        raise ConfigError("the local engine cannot follow a cluster; take engine 'valkey-search'")
    return server.single_client()
