"""Nodes: servers with the search module for tests that break them, and a worker's index care without its queue."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nearhit import Metrics
from nearhit.embedding.resolve import embedder_for
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.valkey.link import link_for

if TYPE_CHECKING:
    from nearhit import Settings
    from nearhit.flow.steps import Flow


class Driver:
    """Runs flows against the cache server of some settings."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics(namespace=settings.namespace)
        self._link = link_for(settings.server().client())
        gate = Gate(CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), self.metrics, "write")
        self.shell = Runner(self._link, embedder_for(settings.model), gate)

    def run(self, flow: Flow[Any], seconds: float = 30.0) -> Any:
        return self.shell.run(flow, seconds)

    def close(self) -> None:
        self._link.close()


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """Return the value of a series, 0 where it was never counted."""
    value = metrics.registry.get_sample_value(name, {"namespace": metrics.namespace, **labels})
    return value or 0.0
