"""LiteLLM embedder: any embedding model that litellm can call, behind the embedder port."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.domain.sight import ASSUMED_BYTES, assumed_sight
from nearhit.embedding.litellm_reply import tokens_of, vectors_of
from nearhit.embedding.litellm_sight import bytes_of, reads_of
from nearhit.errors import ConfigError, ContractError, EmbedderUnavailableError
from nearhit.flow.async_runner import drive_async
from nearhit.flow.ports import Embeddings
from nearhit.flow.runner import drive
from nearhit.llm.client import NoRetries, client_timeout, error_types, load_litellm, provider_of, translate

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from nearhit.domain.sight import Sight

Request = dict[str, Any]

_BASE64_PROVIDERS = frozenset({"openai", "azure", "hosted_vllm", "litellm_proxy"})


class LiteLLMEmbedder:
    """The embedding model that litellm calls ``model``.

    A failed call is not repeated here: the caller knows whether a person waits. ``timeout_seconds`` is handed
    to the HTTP client, which counts it for each read; ``DeadlineEmbedder`` holds the whole call to it.

    Args:
        model: a model string of litellm, for example ``openai/text-embedding-3-small``.
        dimensions: length of vector to ask for and to insist on; ``None`` takes what the model gives.
        api_base: address of the provider; ``None`` is litellm's own.
        api_key: key; ``None`` lets litellm look in the environment.
        max_texts_per_call: longer batches are sent in parts.
        extra: further arguments of ``litellm.embedding``, which win over ours.

    Raises:
        ConfigError: ``model`` is empty, or a number is less than 1.
    """

    in_process = False

    def __init__(
        self,
        model: str,
        *,
        dimensions: int | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        max_texts_per_call: int = 256,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not model:
            raise ConfigError("the embedder's model string is empty")
        if dimensions is not None and dimensions < 1:
            raise ConfigError(f"dimensions={dimensions} is less than 1")
        if max_texts_per_call < 1:
            raise ConfigError(f"max_texts_per_call={max_texts_per_call} is less than 1")
        self.name = model
        self._max_bytes: int | None = None
        self._reads = reads_of(model)
        self._dimensions = dimensions
        self._api_base = api_base
        self._api_key = api_key
        self._max_texts_per_call = max_texts_per_call
        self._extra = dict(extra or {})
        self._connection: _Connection | None = None

    def __repr__(self) -> str:
        return f"LiteLLMEmbedder({self.name!r}, dimensions={self._dimensions}, api_base={self._api_base!r})"

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts``, in parts where there are many; the first call imports litellm, 3 to 6 s.

        Raises:
            ConfigError: the key, the model or a parameter was refused, or litellm is not installed.
            ContractError: the texts were refused, or the reply has another count, order or dimension, or NaN.
            EmbedderUnavailableError: a rate limit, a timeout, a lost connection, an error of the provider's
            server.
        """
        connection = self._connect()
        steps = self._steps(connection, texts, timeout_seconds)
        return drive(steps, lambda request: connection.litellm.embedding(**request), connection.errors)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` as ``embed`` does, on the event loop; raises as ``embed`` does."""
        connection = self._connection
        if connection is None:
            connection = await asyncio.to_thread(self._connect)  # the import must not hold the event loop
        steps = self._steps(connection, texts, timeout_seconds)
        return await drive_async(steps, lambda request: connection.litellm.aembedding(**request), connection.errors)

    def sight(self, text: str) -> Sight:
        """Return how much of ``text`` the model reads for certain, by its name and litellm's table of limits.

        Raises:
            ConfigError: litellm is not installed, or knows no such provider.
        """
        most = self._max_bytes
        if most is None and len(text) * 4 > ASSUMED_BYTES:
            most = self._max_bytes = bytes_of(self.name, self._connect().litellm.model_cost)
        return assumed_sight(text, most or ASSUMED_BYTES, self._reads)

    def _connect(self) -> _Connection:
        connection = self._connection
        if connection is None:  # two threads may both make one: both are right
            self._connection = connection = _Connection(self.name, self._api_base)
        return connection

    def _steps(
        self, connection: _Connection, texts: Sequence[str], timeout_seconds: float
    ) -> Generator[Request, Any, Embeddings]:
        """Yield requests and take their responses: both twins drive it, so that neither decides anything."""
        deadline = time.monotonic() + timeout_seconds
        parts = []
        for start in range(0, len(texts), self._max_texts_per_call):
            part = list(texts[start : start + self._max_texts_per_call])
            response = yield from self._call(connection, part, deadline)
            vectors = vectors_of(self.name, response.data, len(part), self._dimensions)
            parts.append((vectors, tokens_of(response.usage)))
        widths = sorted({vectors.shape[1] for vectors, _ in parts})
        if len(widths) > 1:
            raise ContractError(f"embedder {self.name!r} gave vectors of {widths} dimensions in one batch")
        if not parts:
            return Embeddings(np.zeros((0, self._dimensions or 0), dtype=np.float32))
        tokens, rows = sum(count for _, count in parts), np.concatenate([vectors for vectors, _ in parts])
        return Embeddings(rows, tokens=tokens, cost_dollars=tokens * connection.dollars_per_token())

    def _call(self, connection: _Connection, texts: list[str], deadline: float) -> Generator[Request, Any, Any]:
        try:
            response = yield self._request(connection, texts, deadline)
        except connection.errors as error:
            if not connection.may_refuse_base64(error, self._extra):
                raise translate(connection.litellm, self.name, error) from error
            connection.base64 = False
        else:
            connection.base64_answered = connection.base64
            return response
        try:
            return (yield self._request(connection, texts, deadline))
        except connection.errors as error:
            connection.base64 = True  # it was not the encoding
            raise translate(connection.litellm, self.name, error) from error

    def _request(self, connection: _Connection, texts: list[str], deadline: float) -> Request:
        left = deadline - time.monotonic()
        if left <= 0:
            raise EmbedderUnavailableError(f"embedder {self.name!r}: no time left for {len(texts)} texts")
        request: Request = {
            "model": self.name,
            "input": texts,
            "timeout": client_timeout(left),
            "max_retries": NoRetries(0),
            "num_retries": 0,
            "caching": False,  # a cache of the application may be this one: it would ask itself
        }
        optional = {"dimensions": self._dimensions, "api_base": self._api_base, "api_key": self._api_key}
        request |= {key: value for key, value in optional.items() if value is not None}
        if connection.base64:
            request["encoding_format"] = "base64"
        return request | self._extra


class _Connection:
    """What is known of litellm and of the provider once the first call is made.

    ``base64`` says whether to ask for base64: 64 vectors cost 5 ms of CPU instead of 46. A server may refuse
    the parameter as a bad request; that is tried once, and not again after it has answered.
    """

    def __init__(self, model: str, api_base: str | None) -> None:
        self.litellm = load_litellm()
        self.errors = error_types(self.litellm)
        self.provider = provider_of(self.litellm, model, api_base)
        self.base64 = self.provider in _BASE64_PROVIDERS
        self.base64_answered = False
        self._model = model

    def may_refuse_base64(self, error: Exception, extra: Mapping[str, Any]) -> bool:
        """Return whether the same request may succeed without base64."""
        asked = self.base64 and "encoding_format" not in extra
        return asked and not self.base64_answered and isinstance(error, self.litellm.BadRequestError)

    def dollars_per_token(self) -> float:
        """Return the price in litellm's own table, 0.0 where it has none for this model of this provider."""
        for key in (self._model, self._model.partition("/")[2]):
            price: Mapping[str, Any] = self.litellm.model_cost.get(key) or {}
            if price.get("litellm_provider") == self.provider:
                return float(price.get("input_cost_per_token") or 0.0)
        return 0.0
