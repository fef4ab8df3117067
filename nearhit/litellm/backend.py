"""Backend: reads and writes for LiteLLM's cache facade, blocking and asyncio; writes go through the queue."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from nearhit.admin import purge
from nearhit.domain.entry import prompt_digest
from nearhit.domain.hit_policy import MAX_TTL_SECONDS
from nearhit.domain.outcome import FillOutcome, Hit, Miss, MissReason, Tier
from nearhit.domain.question import read_question
from nearhit.domain.scope import Scope
from nearhit.errors import EntryError
from nearhit.litellm.answer import as_text, calls_tools, parse_response, read_answer, usage_of
from nearhit.litellm.latest import remember_similarity
from nearhit.litellm.request import QUESTIONS, Request, limits_of, metadata_of, tenant_of
from nearhit.llm.client import load_litellm
from nearhit.read.failsafe import Failsafe
from nearhit.read.pending_misses import MAX_PENDING, PendingMisses
from nearhit.resilience.lru import Lru

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nearhit.async_cache import AsyncSemanticCache
    from nearhit.cache import SemanticCache
    from nearhit.litellm.options import Options
    from nearhit.write.fill_encoding import FillOptions

log = logging.getLogger("nearhit")

_DOWN = frozenset(
    {
        MissReason.UNAVAILABLE,
        MissReason.BUSY,
        MissReason.EMBEDDER_UNAVAILABLE,
        MissReason.EMBEDDER_REFUSED,
        MissReason.INDEX_LOST,
        MissReason.WARMING,
        MissReason.MISCONFIGURED,
        MissReason.CLOSED,
        MissReason.ERROR,
    }
)


class Backend:
    """The cache behind LiteLLM's facade. Thread-safe.

    The methods that LiteLLM calls by name (``get_cache`` and the like) serve its own facade,
    ``Cache(type="valkey-semantic", _backend=…)``, and separate callers by the key that it computes. Ours,
    ``nearhit.litellm.cache``, calls ``read`` and ``write`` with a scope of our own.

    Args:
        sync: for LiteLLM's blocking calls.
        aio: for its asyncio calls, with the same settings and metrics; ``None`` takes ``sync`` in a thread.
        options: how calls are cached.
    """

    def __init__(self, sync: SemanticCache, aio: AsyncSemanticCache | None, options: Options) -> None:
        self.sync = sync
        self.aio = aio
        self._options = options
        self.metrics = sync.metrics
        self._failsafe = Failsafe(sync.metrics)
        self._pending = PendingMisses()
        self._served: Lru[str, str] = Lru(MAX_PENDING)

    def read(self, request: Request) -> Hit | None:
        """Return the hit that answers a request; ``None`` for a miss, whose reason is counted."""
        if not request.read:
            return None
        accept = partial(self._accepts, request)
        return self._judge(request, self.sync.lookup(request.question, request.scope, accept=accept))

    async def read_async(self, request: Request) -> Hit | None:
        """Return the hit that answers a request, as ``read`` does."""
        if not request.read:
            return None
        accept = partial(self._accepts, request)
        if self.aio is None:
            look_up = partial(self.sync.lookup, request.question, request.scope, accept=accept)
            return self._judge(request, await asyncio.to_thread(look_up))
        return self._judge(request, await self.aio.lookup(request.question, request.scope, accept=accept))

    def write(self, request: Request, result: Any) -> FillOutcome:
        """Put a response onto the queue; one that is partial, empty or an error is ``bypassed``."""
        asked, answer, options = self._prepare(request, result)
        return self._bypassed() if asked is None else self.sync.fill(asked, answer, **options)

    async def write_async(self, request: Request, result: Any) -> FillOutcome:
        """Put a response onto the queue, as ``write`` does."""
        if self.aio is None:
            return await asyncio.to_thread(self.write, request, result)
        asked, answer, options = self._prepare(request, result)
        return self._bypassed() if asked is None else await self.aio.fill(asked, answer, **options)

    def get_cache(self, key: str, **call: Any) -> dict[str, Any] | None:
        """Return ``{"timestamp", "response"}`` of a hit, as LiteLLM's facade asks for it."""
        return _dated(self.read(self._keyed(key, call)))

    async def async_get_cache(self, key: str, **call: Any) -> dict[str, Any] | None:
        """Return ``{"timestamp", "response"}`` of a hit, as ``get_cache`` does."""
        return _dated(await self.read_async(self._keyed(key, call)))

    def set_cache(self, key: str, value: Any, **call: Any) -> None:
        """Put ``{"timestamp", "response"}`` onto the queue, as LiteLLM's facade gives it."""
        self.write(self._keyed(key, call), _undated(value))

    async def async_set_cache(self, key: str, value: Any, **call: Any) -> None:
        """Put ``{"timestamp", "response"}`` onto the queue, as ``set_cache`` does."""
        await self.write_async(self._keyed(key, call), _undated(value))

    async def async_set_cache_pipeline(self, cache_list: Sequence[tuple[str, Any]], **call: Any) -> None:
        """Do nothing: LiteLLM calls this for embeddings alone, which are left as they are."""

    async def batch_cache_write(self, key: str, value: Any, **call: Any) -> None:
        """Put an answer onto the queue, as ``async_set_cache`` does; the queue gathers batches by itself."""
        await self.async_set_cache(key, value, **call)

    async def ping(self) -> bool:
        """Return whether a lookup works now: server, embedder and index. It is counted as one."""
        return bool((await self.test_connection())["status"] == "success")

    async def test_connection(self) -> dict[str, Any]:
        """Return ``{"status", "message"}`` of a lookup, as LiteLLM's proxy shows it."""
        outcome = await asyncio.to_thread(self.sync.lookup, "ping", {"\0question": "ping"})
        if isinstance(outcome, Hit) or outcome.reason not in _DOWN:
            return {"status": "success", "message": "a lookup works"}
        return {"status": "failed", "message": f"{outcome.reason.value} {outcome.detail}".strip()}

    async def disconnect(self) -> None:
        """Send what is spooled, within a second, and close the connections."""
        if self.aio is not None:
            await self.aio.close()
        await asyncio.to_thread(self.sync.close)

    async def delete_cache_keys(self, keys: Sequence[str]) -> int:
        """Remove entries by the cache keys that responses carry, those in other words included; return how many."""
        ends = {key.rpartition("/")[2] for key in keys}
        ends |= {":".join(key.rsplit(":", 2)[1:]) for end in ends if (key := self._served.get(end))}
        return await asyncio.to_thread(purge.remove_questions, self.sync.settings, sorted(ends))

    async def _index_info(self) -> dict[str, Any]:
        """Return what LiteLLM's own class would ask the server for: that and how lookups work."""
        settings = self.sync.settings
        status = await self.test_connection()
        return {"namespace": settings.namespace, "engine": settings.engine, "model": settings.model, **status}

    def cache_key(self, request: Request) -> str:
        """Return the name of a question's entry, for LiteLLM's ``x-litellm-cache-key``; it holds digests only."""
        question = read_question(request.question, request.scope)
        return (
            question.reason.value if isinstance(question, Miss) else f"{question.scope}:{prompt_digest(question.text)}"
        )

    @contextmanager
    def edge(self, side: str) -> Iterator[None]:
        """Turn exceptions in a call of LiteLLM's, ``read`` or ``write``, into counts: its caller never sees them."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a broken cache never breaks its caller
            if side == "read":
                self._failsafe.lookup_broke(error, None)
            else:
                self._failsafe.fill_broke(error)

    def _judge(self, request: Request, outcome: Hit | Miss) -> Hit | None:
        if isinstance(outcome, Miss):
            self._pending.put(outcome)
            _note(request, outcome.nearest.similarity if outcome.nearest else 0.0)
            return None
        _note(request, outcome.similarity)
        if outcome.tier is Tier.SEMANTIC:  # the caller can have the entry deleted that answered in other words
            self._served.put(self.cache_key(request), outcome.key)
        return outcome

    def _accepts(self, request: Request, hit: Hit) -> bool:
        """Return whether a hit may answer a request: young enough, a response, and no tool call to other words."""
        if request.max_age_seconds is not None and hit.age_seconds > request.max_age_seconds:
            return False
        try:
            response = _undated(hit.answer)
        except EntryError:  # JSON within JSON that cannot be read
            return False
        if not isinstance(hit.answer, dict):
            return False
        may_call_tools = hit.tier is Tier.EXACT or self._options.similar_tool_calls
        return may_call_tools or not calls_tools(response)

    def _prepare(self, request: Request, result: Any) -> tuple[Miss | None, Any, FillOptions]:
        options: FillOptions = {}
        question = read_question(request.question, request.scope)
        if not request.write or isinstance(question, Miss):
            return None, None, options
        try:
            answer = read_answer(result)
            answer = as_text(answer) if request.text else answer
        except EntryError as error:
            log.debug("not cached: %s", error, extra={"action": "bypass"})
            return None, None, options
        if request.ttl_seconds is not None:
            options["ttl_seconds"] = min(request.ttl_seconds, MAX_TTL_SECONDS)
        usage = usage_of(answer, request.model, load_litellm().model_cost)
        if usage is not None:
            options["usage"] = usage
        asked = self._pending.take(question)
        if asked is None:
            asked = question.miss(MissReason.EMPTY)
        return asked, answer, options

    def _bypassed(self) -> FillOutcome:
        self.metrics.fills[FillOutcome.BYPASSED].inc()
        return FillOutcome.BYPASSED

    def _keyed(self, key: str, call: Mapping[str, Any]) -> Request:
        """Return a request in the scope of LiteLLM's own key; its facade passes little else to a blocking read."""
        metadata = call.get("metadata")
        tenant = tenant_of(metadata_of(call), self._options.tenant_fields)
        return Request(
            question=next((call[name] for name in QUESTIONS if call.get(name) is not None), None),
            scope=Scope(tenant=tenant, parameters={"\0litellm": str(key)}),
            model=str(call.get("model") or ""),
            metadata=metadata if isinstance(metadata, dict) else None,
            **{**limits_of(call, {}), "read": True},
        )


def response_of(hit: Hit) -> Any:
    """Return the provider's response that a hit holds."""
    return _undated(hit.answer)


def _dated(hit: Hit | None) -> dict[str, Any] | None:
    return None if hit is None else {"timestamp": time.time() - hit.age_seconds, "response": response_of(hit)}


def _undated(value: Any) -> Any:
    """Return the response of ``{"timestamp", "response"}``, parsed where it is text."""
    if isinstance(value, Mapping) and "timestamp" in value and "response" in value:
        inner = value["response"]
        return parse_response(inner) if isinstance(inner, str) else inner
    return value


def _note(request: Request, similarity: float) -> None:
    remember_similarity(similarity)
    if request.metadata is not None:
        request.metadata["semantic-similarity"] = similarity
