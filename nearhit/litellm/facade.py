"""Facade: the object at ``litellm.cache``, LiteLLM's own class with our key, reads and writes.

Imported when a cache is made, never before: it imports litellm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litellm.caching.caching import Cache, CacheMode
from litellm.types.utils import all_litellm_params

from nearhit.litellm.backend import response_of
from nearhit.litellm.request import Reading, read_request
from nearhit.litellm.shared import read_shared

if TYPE_CHECKING:
    from nearhit.domain.outcome import Hit
    from nearhit.litellm.backend import Backend
    from nearhit.litellm.options import Options
    from nearhit.litellm.request import Request


class CacheFacade(Cache):  # type: ignore[misc]  # litellm is not followed by the type checker
    """LiteLLM's cache facade over a ``Backend``.

    LiteLLM's own passes a blocking read the messages alone, and its key depends on the order of parameters. This one
    reads the whole call itself.

    Args:
        backend: reads and writes.
        options: how calls are cached.
        shared: use LiteLLM's own keys and texts, to share entries with its class.
    """

    def __init__(self, backend: Backend, options: Options, *, shared: bool = False) -> None:
        super().__init__(
            type="local",
            mode=CacheMode.default_off if options.default_off else CacheMode.default_on,
            supported_call_types=list(options.call_types),
        )
        self.cache = backend
        self.type = "valkey-semantic"
        self.max_messages = options.max_messages
        self._shared = shared
        self._reading = Reading(frozenset(all_litellm_params), options.tenant_fields, options.split_by)

    def get_cache_key(self, **kwargs: Any) -> str:
        """Return the name of the entry that would answer a call exactly."""
        key = ""
        with self.cache.edge("read"):
            key = str(self.cache.cache_key(self._read(kwargs)))
        return key  # noqa: RET504 - empty where it broke

    def get_cache(self, dynamic_cache_object: Any = None, **kwargs: Any) -> Any:  # noqa: ARG002 - LiteLLM's signature
        """Return the cached response to a call, or ``None``. Never raises."""
        with self.cache.edge("read"):
            if self.should_use_cache(**kwargs) is True:
                request = self._read(kwargs)
                return self._replay(self.cache.read(request), request, kwargs, asynchronous=False)
        return None

    async def async_get_cache(self, dynamic_cache_object: Any = None, **kwargs: Any) -> Any:  # noqa: ARG002 - the same
        """Return the cached response to a call, as ``get_cache`` does."""
        with self.cache.edge("read"):
            if self.should_use_cache(**kwargs) is True:
                request = self._read(kwargs)
                return self._replay(await self.cache.read_async(request), request, kwargs, asynchronous=True)
        return None

    def add_cache(self, result: Any, **kwargs: Any) -> None:
        """Put the response to a call onto the queue. Never raises."""
        with self.cache.edge("write"):
            if self.should_use_cache(**kwargs) is True:
                self.cache.write(self._read(kwargs), result)

    async def async_add_cache(self, result: Any, dynamic_cache_object: Any = None, **kwargs: Any) -> None:  # noqa: ARG002 - the same
        """Put the response to a call onto the queue, as ``add_cache`` does."""
        with self.cache.edge("write"):
            if self.should_use_cache(**kwargs) is True:
                await self.cache.write_async(self._read(kwargs), result)

    async def async_add_cache_pipeline(self, result: Any, dynamic_cache_object: Any = None, **kwargs: Any) -> None:
        """Do nothing: LiteLLM calls this for embeddings alone."""

    async def batch_cache_write(self, result: Any, **kwargs: Any) -> None:
        """Put the response to a call onto the queue, as ``async_add_cache`` does."""
        await self.async_add_cache(result, **kwargs)

    def stock_key(self, call: dict[str, Any]) -> str:
        """Return the key that LiteLLM's own class computes for a call."""
        key: str = super().get_cache_key(**call)
        return key

    def _replay(self, hit: Hit | None, request: Request, call: dict[str, Any], *, asynchronous: bool) -> Any:
        if hit is None:
            return None
        answer = response_of(hit)
        if not request.text or call.get("stream") is not True:
            return answer
        from nearhit.litellm.replay import TextReplay  # noqa: PLC0415 - needed by streamed text completions alone

        return TextReplay(answer, call, asynchronous=asynchronous)

    def _read(self, call: dict[str, Any]) -> Request:
        if self._shared:
            return read_shared(call, self.stock_key(call), self._reading)
        return read_request(call, self._reading)
