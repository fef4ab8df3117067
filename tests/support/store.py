"""Store: puts entries into a cache as a worker does, without a queue, and takes them out again."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from nearhit import Metrics
from nearhit.assembly import plan_of
from nearhit.domain.entry import Entry, encode_response, prompt_digest
from nearhit.domain.outcome import Stored
from nearhit.domain.scope import Scope, scope_digest
from nearhit.domain.vectors import to_bytes
from nearhit.embedding.resolve import embedder_for
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.index.opening import open_space
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.valkey.link import link_for
from nearhit.write.upsert import remove, upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nearhit import Settings
    from nearhit.flow.ports import Embedder
    from nearhit.flow.steps import Flow
    from nearhit.valkey.key_names import CacheKeys


class Store:
    """Writes entries of one namespace straight to its server."""

    def __init__(self, settings: Settings, embedder: Embedder | None = None) -> None:
        self.embedder = embedder or embedder_for(settings.model)
        server = settings.server()
        self._link = link_for(server.client())
        gate = Gate(
            CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), Metrics(namespace=settings.namespace), "write"
        )
        self.shell = Runner(self._link, self.embedder, gate)
        self.space = self.run(open_space(plan_of(settings, self.embedder.name, server))).space
        self.keys: CacheKeys = self.space.keys

    def run(self, flow: Flow[Any]) -> Any:
        return self.shell.run(flow, 30.0)

    def entry(
        self,
        prompt: str,
        answer: Any = "an answer",
        *,
        scope: Any = None,
        vector: NDArray[np.float32] | None = None,
        ttl_seconds: float = 60.0,
        **changes: Any,
    ) -> Entry:
        if vector is None:
            vector = self.embedder.embed([prompt], 10.0).vectors[0]
        now_ms = time.time_ns() // 1_000_000
        values: dict[str, Any] = {
            "scope": scope_digest(Scope.of(scope)),
            "tenant": "",
            "prompt": prompt,
            "response": encode_response(answer),
            "embedding": to_bytes(vector),
            "embedder": self.keys.embedder,
            "created_us": now_ms * 1000,
            "fresh_until_ms": now_ms + round(ttl_seconds * 1000),
            "expires_ms": now_ms + round(ttl_seconds * 1000),
            **changes,
        }
        return Entry(**values)

    def put(self, *entries: Entry) -> None:
        results = self.run(upsert(entries, self.keys))
        assert results == [Stored.STORED] * len(entries)

    def add(self, prompt: str, answer: Any = "an answer", **changes: Any) -> str:
        one = self.entry(prompt, answer, **changes)
        self.put(one)
        return self.key(one)

    def key(self, one: Entry) -> str:
        return self.keys.entry(one.scope, prompt_digest(one.prompt))

    def take(self, keys: Sequence[str]) -> None:
        self.run(remove(keys, self.keys))

    def close(self) -> None:
        self.space.engine.close()
        self._link.close()
