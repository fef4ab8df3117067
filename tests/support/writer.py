"""Writer: empties the fill log in this process, by the very code that a worker runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit_worker.runtime import Runtime

from nearhit import Metrics

if TYPE_CHECKING:
    from nearhit import Settings
    from nearhit.flow.ports import Embedder


def written(settings: Settings, embedder: Embedder | None = None, lane: str = "interactive") -> int:
    """Store what lies in a lane and return how many fills that were."""
    runtime = Runtime(settings, Metrics(namespace=settings.namespace), embedder)
    try:
        return runtime.drain(lane)
    finally:
        runtime.close()
