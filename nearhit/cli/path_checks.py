"""Path checks: queue, workers and embedder, and a self-test along the whole path."""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nearhit.cache import SemanticCache
from nearhit.cli import server_checks
from nearhit.cli.finding import Finding, address_of_url, failed, passed, warned
from nearhit.cli.ready_cache import wait_until_ready
from nearhit.cli.rights_checks import check_broker_rights
from nearhit.cli.screen import counted
from nearhit.cli.server_checks import check_password
from nearhit.domain.outcome import FillOutcome, Hit, Miss, MissReason
from nearhit.embedding.fingerprint import PROBE_TEXT
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ConfigError, ContractError, NearhitError, StoreUnavailableError, UnavailableError
from nearhit.llm.client import missing_variables
from nearhit.telemetry.metrics import LANES, Metrics
from nearhit.valkey.key_names import CacheKeys
from nearhit.write import fill_log
from nearhit.write.broker_url import broker_of, options_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nearhit.cli.servers import Servers
    from nearhit.settings import Settings

QUESTION = "How do I reset my password?"
REWORDED = "How can I reset my password?"
ANSWER = "This entry belongs to a self-test and is about to go away."

_BROKER_LIMITS = {"socket_connect_timeout": 2, "socket_timeout": 2}
"""A hung broker takes connections and says nothing: kombu alone would wait for good."""

_REFUSED = ("invalid username-password", "Authentication required", "ACCESS_REFUSED")
"""What Valkey and RabbitMQ say of a wrong password."""

_EMBED_SECONDS = 60.0
_WORKER_SECONDS = 15.0
_SEEN_SECONDS = 6.0
_REPLICA_SECONDS = 2.0
_ENTRY_SECONDS = 120.0


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Give whether kombu reaches the broker, which carries the wake-ups."""
    url = broker_of(settings.broker_url, settings.log_server())
    if not url:
        text = f"none: Celery cannot use a cluster; workers look at the log every {settings.poll_seconds:g} s"
        yield warned("broker", text, "set NEARHIT_BROKER_URL to a single server, if fills are to be stored sooner")
        return
    host, with_password = address_of_url(url)
    from kombu import Connection  # noqa: PLC0415 - only the doctor talks to the broker by itself

    limits = {**_BROKER_LIMITS, **options_of(url)}
    try:
        with Connection(url, connect_timeout=2, transport_options=limits) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            kind = connection.transport.driver_type
    except Exception as error:  # noqa: BLE001 - every broker library has errors of its own
        advice = "set NEARHIT_BROKER_URL to where one answers us; until then workers look at the log by timer"
        if any(word in str(error) for word in _REFUSED):
            advice = "correct the user and the password in NEARHIT_BROKER_URL, or in the log's url where it is not set"
        elif server_checks.lacks_rights(str(error)):
            advice = server_checks.RIGHTS
        yield failed("broker", f"{host} does not answer: {type(error).__name__}: {error}", advice)
        return
    yield passed("broker", f"{kind} on {host} answers")
    if settings.broker_url:
        yield from check_password("broker", host, with_password)
    if kind == "redis":
        yield check_broker_rights(settings)


def check_workers(servers: Servers, wait_seconds: float = _SEEN_SECONDS) -> Finding:
    """Return which workers look at the log; waits for one, since an idle one looks once a poll interval."""
    try:
        for lane in LANES:  # as a worker does: a namespace that never had a fill has no group that workers join
            servers.log.run(fill_log.open_log(servers.keys, lane))
        end = time.monotonic() + max(wait_seconds, 2 * servers.settings.poll_seconds)
        while not (seen := servers.workers()) and time.monotonic() < end:
            time.sleep(0.1)
        dead = servers.dead()
    except StoreUnavailableError as error:
        advice = server_checks.advice_on(str(error), "start the log's server")
        return failed("workers", f"cannot be seen: {error}", advice)
    if not seen:
        advice = f"start one for namespace {servers.settings.namespace!r}: `nearhit worker`, or `nearhit up` for all"
        return failed("workers", "none looks at the log: fills wait", advice)
    text = f"{len(seen)} at work" + (f", {counted(dead, 'dead letter')}" if dead else "")
    if dead:
        return warned("workers", text, "look at what was given up, and why: `nearhit dead`")
    return passed("workers", text)


def check_embedder(settings: Settings) -> Finding:
    """Return whether the embedder answers, its dimension and its speed."""
    try:
        embedder = embedder_for(settings.model)
        embedder.embed((PROBE_TEXT,), _EMBED_SECONDS)
        started = time.monotonic()
        vectors = embedder.embed((QUESTION,), _EMBED_SECONDS).vectors
    except NearhitError as error:
        return failed("embedder", f"{settings.model}: {error}", _advice_on_embedder(settings.model, error))
    spent_ms = (time.monotonic() - started) * 1000
    text = f"{settings.model} answers: {vectors.shape[1]} dimensions, {spent_ms:.1f} ms a text"
    if settings.model.startswith("hash/"):
        return warned("embedder", text, "it knows no meaning and is for tests: set NEARHIT_MODEL to local/minilm")
    if spent_ms > settings.deadline_ms:
        advice = f"raise NEARHIT_DEADLINE_MS above {spent_ms:.0f}, or every new question is a miss"
        return failed("embedder", f"{text}, the deadline of a lookup is {settings.deadline_ms} ms", advice)
    return passed("embedder", text)


def _advice_on_embedder(model: str, error: NearhitError) -> str:
    if model == "local/minilm":
        return "run `nearhit model install`"
    if not model.startswith(("local/", "hash/")) and (missing := missing_variables(model)):
        return f"set {' and '.join(missing)} for every application and worker: the provider's key is not there"
    if isinstance(error, UnavailableError):
        return "check the provider's key and address in the environment, and that it can be reached from here"
    return "set NEARHIT_MODEL to a model that the provider has"


def check_models(servers: Servers) -> Iterator[Finding]:
    """Give a warning when the namespace has entries of another embedder than the one that is set."""
    settings = servers.settings
    others = [one for one in servers.embedders() if one.model != settings.model]
    pages = [(one.model, servers.cache.names(f"{CacheKeys(settings.namespace, one.id).prefix}*")) for one in others]
    found = {model for model, names in pages if next(names, None) is not None}
    if found:
        text = f"{settings.model} is set here, and there are entries of {', '.join(sorted(found))}, too"
        advice = (
            "give all applications and workers the same NEARHIT_MODEL: each finds the entries of its own model alone; "
            "after a change on purpose run `nearhit reindex`"
        )
        yield warned("models", text, advice)


def check_path(servers: Servers, *, by_worker: bool) -> Finding:
    """Return whether a question that was answered hits when it is asked in other words; leaves nothing behind.

    Args:
        servers: of the settings under test.
        by_worker: the entry goes through the queue to a running worker, in a scope of its own; otherwise this process
            does the worker's part, in a namespace of its own.
    """
    try:
        return (_walk_by_worker if by_worker else _walk_alone)(servers)
    except (ConfigError, ContractError) as error:
        return failed("self-test", str(error), "change the setting that it names")
    except UnavailableError as error:
        return failed("self-test", str(error), "see the lines above")


def _walk_by_worker(servers: Servers) -> Finding:
    settings = replace(servers.settings, enqueue_deadline_ms=max(2_000, servers.settings.enqueue_deadline_ms))
    scope = {"tenant": f"nearhit-doctor-{secrets.token_hex(6)}"}
    with SemanticCache(settings) as cache:
        wait_until_ready(cache, settings)
        miss = cache.lookup(QUESTION, scope)
        started = time.monotonic()
        outcome = cache.fill(miss, ANSWER, ttl_seconds=_ENTRY_SECONDS)
        if outcome is not FillOutcome.ACCEPTED:
            return failed("self-test", f"the fill was {outcome.value}", "see the log server above")
        hit = _wait_for(cache, QUESTION, scope, _WORKER_SECONDS)
        lag = time.monotonic() - started
        if not isinstance(hit, Hit):
            advice = "look into the worker's log and at `nearhit stats`"
            return failed("self-test", f"the fill is not searchable after {_WORKER_SECONDS:g} s", advice)
        try:
            return _judge(
                _wait_for(cache, REWORDED, scope, _REPLICA_SECONDS), settings, f"searchable after {lag:.2f} s"
            )
        finally:
            servers.cache("UNLINK", hit.key)


def _walk_alone(servers: Servers) -> Finding:
    from nearhit_worker.runtime import Runtime  # noqa: PLC0415 - the same

    settings = replace(servers.settings, namespace=f"doctor-{secrets.token_hex(6)}")
    with swept(servers, settings.namespace), silenced("nearhit"):
        runtime = Runtime(settings, Metrics(namespace=settings.namespace))
        try:
            stored = runtime.accept([{"prompt": QUESTION, "answer": ANSWER, "ttl_seconds": _ENTRY_SECONDS}])
        finally:
            runtime.close()
        if not stored:
            return failed("self-test", "the fill was refused", "see the lines above")
        with SemanticCache(settings) as cache:
            wait_until_ready(cache, settings)
            return _judge(_wait_for(cache, REWORDED, None, _REPLICA_SECONDS), settings, "written by this process")


def _wait_for(cache: SemanticCache, text: str, scope: Mapping[str, Any] | None, timeout_seconds: float) -> Hit | Miss:
    """Return the outcome once the entry is visible here, whatever the outcome then is."""
    end = time.monotonic() + timeout_seconds
    while True:
        outcome = cache.lookup(text, scope)
        unseen = isinstance(outcome, Hit) or outcome.reason not in {MissReason.EMPTY, MissReason.WARMING}
        if unseen or time.monotonic() > end:
            return outcome
        time.sleep(0.02)


def _judge(outcome: Hit | Miss, settings: Settings, how: str) -> Finding:
    if isinstance(outcome, Hit):
        spent = outcome.stages.get("total", 0.0) * 1000
        return passed(
            "self-test", f"a rewording hit: similarity {outcome.similarity:.3f}, {how}, looked up in {spent:.1f} ms"
        )
    near = outcome.nearest
    if settings.model.startswith("hash/"):
        return warned(
            "self-test", f"a rewording missed, {how}", "the hash embedder knows no meaning; set NEARHIT_MODEL"
        )
    if outcome.reason is MissReason.BELOW_THRESHOLD and near is not None:
        text = f"a rewording missed: similarity {near.similarity:.3f}, the threshold is {settings.threshold:g}"
        return failed("self-test", text, "lower NEARHIT_THRESHOLD: it is too high for this model")
    detail = near.refusal if near is not None and near.refusal else outcome.detail
    return failed("self-test", f"a rewording missed: {outcome.reason.value} {detail}".rstrip(), "see the lines above")


@contextmanager
def swept(servers: Servers, namespace: str) -> Iterator[None]:
    """Take away whatever a namespace of our own left on either server."""
    try:
        yield
    finally:
        found = servers.cache("FT._LIST")
        for name in found if isinstance(found, list) else []:
            if name.startswith(f"nearhit:{namespace}:".encode()):
                servers.cache("FT.DROPINDEX", name)
        for ask in (servers.cache, servers.log):
            for pattern in (f"nearhit:{namespace}:*", f"nearhit:{{{namespace}}}:*"):
                for key in list(ask.names(pattern)):
                    ask("UNLINK", key)


@contextmanager
def silenced(name: str) -> Iterator[None]:
    """Keep a logger silent: what goes wrong in the block is a finding."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
