"""Nearhit: a write-behind semantic cache for LLM answers on Valkey.

Names are imported when they are first used, so that a program pays for what it takes: the command line's help, for
example, loads neither numpy nor redis-py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearhit.aio import AsyncSemanticCache
    from nearhit.cache import SemanticCache
    from nearhit.connection import Server
    from nearhit.embedding.port import Embedder, Embeddings
    from nearhit.entry import Usage
    from nearhit.errors import (
        BusyError,
        ConfigError,
        ContractError,
        EmbedderUnavailableError,
        EntryError,
        IndexLostError,
        IndexMismatchError,
        JudgeUnavailableError,
        MessageError,
        NearhitError,
        StoreUnavailableError,
        TooLargeError,
        UnavailableError,
        VectorError,
    )
    from nearhit.index.invalidate import Invalidated
    from nearhit.judge.port import Judgement, PairJudge, Sameness
    from nearhit.metrics import Metrics
    from nearhit.outcome import FillOutcome, Hit, Miss, MissReason, Nearest, Tier
    from nearhit.scope import Scope
    from nearhit.settings import Settings
    from nearhit.thresholds.admin import Thresholds
    from nearhit.thresholds.table import ThresholdEntry

__all__ = [
    "AsyncSemanticCache",
    "BusyError",
    "ConfigError",
    "ContractError",
    "Embedder",
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
    "AsyncSemanticCache": "aio",
    "SemanticCache": "cache",
    "Server": "connection",
    "Embedder": "embedding.port",
    "Embeddings": "embedding.port",
    "Usage": "entry",
    "Invalidated": "index.invalidate",
    "Judgement": "judge.port",
    "PairJudge": "judge.port",
    "Sameness": "judge.port",
    "Metrics": "metrics",
    "FillOutcome": "outcome",
    "Hit": "outcome",
    "Miss": "outcome",
    "MissReason": "outcome",
    "Nearest": "outcome",
    "Tier": "outcome",
    "Scope": "scope",
    "Settings": "settings",
    "Thresholds": "thresholds.admin",
    "ThresholdEntry": "thresholds.table",
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
