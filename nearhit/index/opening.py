"""Opening: from settings and a server to the space that lookups search, as a flow that can run again at any time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearhit.embedding import registry
from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.flow.steps import Flow, ReplyError, ask
from nearhit.index import loss
from nearhit.index.litellm_layout import SharedEngine, SharedKeys, keys_of
from nearhit.index.local.engine import LocalEngine
from nearhit.index.space import Space
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit.valkey import search_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from nearhit.embedding.vector_cache import VectorCache
    from nearhit.index.engine import Engine
    from nearhit.index.loss import LossReason
    from nearhit.valkey.key_names import CacheKeys
    from nearhit.valkey.search_protocol import Hnsw

log = logging.getLogger("nearhit")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is needed to open a space.

    Attributes:
        namespace: whose cache.
        model: name of the embedder.
        engine: ``auto``, ``valkey-search`` or ``local``.
        hnsw: settings of the graph.
        local_max_entries: bound of the local engine.
        connect: makes a blocking client for the local engine's follower.
        vectors: vectors that this process knows.
        cluster: the server is a cluster.
        shared_index: index of LiteLLM's own cache, to read and write its layout; empty for ours.
    """

    namespace: str
    model: str
    engine: str
    hnsw: Hnsw
    local_max_entries: int
    connect: Callable[[], redis.Redis]
    vectors: VectorCache
    cluster: bool = False
    shared_index: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opening gave.

    Attributes:
        space: what lookups search.
        verified: the embedder behind it has been compared with the one that the namespace knows.
        healed: why the index, which was there before, had to be made again by this opening; else ``None``.
    """

    space: Space
    verified: bool
    healed: LossReason | None = None


def open_space(plan: Plan, before: Space | None = None) -> Flow[Opened]:
    """Find the embedder's fingerprint, choose the engine, and make its index ready.

    Args:
        plan: what to open.
        before: what was open until now; its engine is kept when it still fits.

    Raises:
        ConfigError: the engine that was asked for cannot work on this server, or it is a replica without the index.
        IndexMismatchError: an index of that name has another shape.
        UnavailableError: the server or the embedder does not answer.
    """
    try:
        return (yield from _open(plan, before))
    except StoreUnavailableError as error:
        if search_protocol.is_read_only(str(error)):
            raise ConfigError(f"{error}; this server is a read-only replica, take its primary") from error
        raise


def _open(plan: Plan, before: Space | None) -> Flow[Opened]:
    evidence = yield from loss.gather(plan.namespace)
    known = yield from registry.resolve(plan.namespace, plan.model)
    keys = keys_of(plan.namespace, known.id, plan.shared_index)
    name = plan.engine if plan.engine != "auto" else (yield from choose_engine())
    if before is not None and before.keys == keys and before.engine.name == name:
        engine = before.engine
    else:
        if before is not None:
            before.engine.close()
        if plan.cluster and name != ValkeySearchEngine.name:
            raise ConfigError(
                "the local engine cannot follow a cluster; load valkey-search into every node with --use-coordinator, "
                "or set NEARHIT_URL to a single server"
            )
        engine = _make_engine(plan, name, keys, known.dimension)
        log.info(
            "engine chosen",
            extra={"action": "engine", "engine": name, "asked": plan.engine, "embedder": known.id},
        )
    made = yield from engine.prepare()
    healed = loss.explain(before.run_id, evidence) if made and before is not None and engine is before.engine else None
    return Opened(Space(keys, known.dimension, engine, plan.vectors, evidence.run_id), known.verified, healed)


def choose_engine() -> Flow[str]:
    """Return ``valkey-search`` when the server knows FT.SEARCH, else ``local``; a user who may not ask is no answer.

    Raises:
        StoreUnavailableError: the server does not say.
    """
    reply = yield from ask(("COMMAND", "INFO", "FT.SEARCH"))
    if not isinstance(reply, ReplyError):
        found = next(iter(reply.values()), None) if isinstance(reply, dict) else next(iter(reply or ()), None)
        return ValkeySearchEngine.name if found else LocalEngine.name
    reply = yield from ask(("FT.SEARCH",))  # an unknown command is reported before its lack of arguments
    if isinstance(reply, ReplyError):
        if search_protocol.is_unknown_command(reply.text):
            return LocalEngine.name
        if search_protocol.misses_arguments(reply.text) or search_protocol.is_forbidden(reply.kind, reply.text):
            return ValkeySearchEngine.name
    raise StoreUnavailableError(
        f"the server does not say whether it has a search module: {reply}; set NEARHIT_ENGINE to valkey-search or local"
    )


def _make_engine(plan: Plan, name: str, keys: CacheKeys, dimension: int) -> Engine:
    if isinstance(keys, SharedKeys):
        if name != "valkey-search":
            raise ConfigError("layout 'litellm' needs a server with the search module and engine 'valkey-search'")
        return SharedEngine(keys, dimension, plan.hnsw.ef_runtime)
    if name == "valkey-search":
        return ValkeySearchEngine(keys, dimension, plan.hnsw, clustered=plan.cluster)
    return LocalEngine(keys, dimension, plan.connect, max_entries=plan.local_max_entries)
