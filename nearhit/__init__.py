"""Nearhit: a write-behind semantic cache for LLM answers on Valkey.

Names are imported when they are first used, so that a program pays for what it takes: the command line's help, for
example, loads neither numpy nor redis-py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearhit.admin.invalidate import Invalidated
    from nearhit.admin.thresholds import Thresholds
    from nearhit.async_cache import AsyncSemanticCache
    from nearhit.cache import SemanticCache
    from nearhit.domain.entry import Usage
    from nearhit.domain.outcome import FillOutcome, Hit, Miss, MissReason, Nearest, Tier
    from nearhit.domain.scope import Scope
    from nearhit.domain.threshold_table import ThresholdEntry
    from nearhit.errors import (
        BusyError,
        ConfigError,
        ContractError,
        EmbedderBusyError,
        EmbedderUnavailableError,
        EntryError,
        IndexLostError,
        IndexMismatchError,
        JudgeUnavailableError,
        MessageError,
        NearhitError,
        NewerMessageError,
        StoreUnavailableError,
        TooLargeError,
        UnavailableError,
        VectorError,
    )
    from nearhit.flow.ports import Embedder, Embeddings, Judgement, PairJudge, Sameness
    from nearhit.settings import Settings
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.server import Server

__all__ = [
    "AsyncSemanticCache",
    "BusyError",
    "ConfigError",
    "ContractError",
    "Embedder",
    "EmbedderBusyError",
    "EmbedderUnavailableError",
    "Embeddings",
    "EntryError",
    "FillOutcome",
    "Hit",
    "IndexLostError",
    "IndexMismatchError",
    "Invalidated",
    "JudgeUnavailableError",
    "Judgement",
    "MessageError",
    "Metrics",
    "Miss",
    "MissReason",
    "Nearest",
    "NearhitError",
    "NewerMessageError",
    "PairJudge",
    "Sameness",
    "Scope",
    "SemanticCache",
    "Server",
    "Settings",
    "StoreUnavailableError",
    "ThresholdEntry",
    "Thresholds",
    "Tier",
    "TooLargeError",
    "UnavailableError",
    "Usage",
    "VectorError",
]

_HOMES = {
    "AsyncSemanticCache": "async_cache",
    "SemanticCache": "cache",
    "Server": "valkey.server",
    "Embedder": "flow.ports",
    "Embeddings": "flow.ports",
    "Usage": "domain.entry",
    "Invalidated": "admin.invalidate",
    "Judgement": "flow.ports",
    "PairJudge": "flow.ports",
    "Sameness": "flow.ports",
    "Metrics": "telemetry.metrics",
    "FillOutcome": "domain.outcome",
    "Hit": "domain.outcome",
    "Miss": "domain.outcome",
    "MissReason": "domain.outcome",
    "Nearest": "domain.outcome",
    "Tier": "domain.outcome",
    "Scope": "domain.scope",
    "Settings": "settings",
    "Thresholds": "admin.thresholds",
    "ThresholdEntry": "domain.threshold_table",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "errors")  # what has no home of its own is an error
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
