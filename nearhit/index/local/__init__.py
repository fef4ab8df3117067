"""Local engine: every reader keeps a replica of the index in memory and follows the writes."""

from nearhit.index.local.engine import LocalEngine, ReplicaStats

__all__ = ["LocalEngine", "ReplicaStats"]
