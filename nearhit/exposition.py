"""Exposition: the public name of ``nearhit.telemetry.exposition``."""

from nearhit.telemetry.exposition import clear, expose

__all__ = ["clear", "expose"]
