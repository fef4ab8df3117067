"""Session: connections and the open index of one namespace, for administration."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from nearhit.admin.reindex import Reindex, others
from nearhit.assembly import plan_of
from nearhit.embedding.resolve import embedder_for
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.index.litellm_layout import check_own_layout
from nearhit.index.opening import open_space
from nearhit.read.readiness import OPEN_SECONDS
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.telemetry.metrics import Metrics
from nearhit.valkey.key_names import CacheKeys, LogKeys
from nearhit.valkey.link import link_to

if TYPE_CHECKING:
    from nearhit.embedding.registry import Registered
    from nearhit.index.space import Space
    from nearhit.settings import Settings


class Session:
    """Connects to the servers of ``settings`` and loads the model when its space is first needed.

    Args:
        settings: everything that can be set.
        metrics: series to count in; without it a registry of its own.

    Raises:
        ConfigError: the layout is LiteLLM's, whose entries belong to one model.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        check_own_layout(settings, "reindex")
        self.settings = settings
        self.metrics = metrics or Metrics(namespace=settings.namespace)
        embedder, server = embedder_for(settings.model), settings.server()
        self._links = (link_to(server), link_to(settings.log_server()))
        gate = Gate(CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), self.metrics, "write")
        self.cache = Runner(self._links[0], embedder, gate)
        self.log = Runner(self._links[1], embedder, gate)
        self._plan = plan_of(settings, embedder.name, server)
        self._space: Space | None = None

    @property
    def space(self) -> Space:
        """The space of the embedder in use, opened at the first call.

        Raises:
            NearhitError: it cannot be opened.
        """
        if self._space is None:
            self._space = self.cache.run(open_space(self._plan), OPEN_SECONDS).space
        return self._space

    def other_embedders(self) -> list[Registered]:
        """Return the embedders that the namespace knows besides the one in use."""
        return self.cache.run(others(self.settings.namespace, self.space.keys.embedder), OPEN_SECONDS)

    def reindex(self, old: str) -> Reindex:
        """Return what takes the entries of the embedder with the fingerprint ``old`` over."""
        log_keys, old_keys = LogKeys(self.settings.namespace), CacheKeys(self.settings.namespace, old)
        return Reindex(self.cache, self.log, log_keys, self.space.engine, self.space.keys, old_keys)

    def close(self) -> None:
        """Close the connections."""
        if self._space is not None:
            self._space.engine.close()
        for link in self._links:
            link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
