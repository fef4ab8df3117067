"""Faces: both twins of the cache under one blocking face, so that one test holds for both."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import TYPE_CHECKING, Any, Self

from nearhit import AsyncSemanticCache, SemanticCache

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit import FillOutcome, Hit, Metrics, Miss, Scope, Settings

KINDS = ("sync", "asyncio")


class Face:
    """One twin of the cache; the asyncio one runs on a loop of its own while a call is under way."""

    def __init__(self, kind: str, settings: Settings, **parts: Any) -> None:
        self.kind = kind
        self._closed = False
        self._pid = os.getpid()
        self.runner = asyncio.Runner() if kind == "asyncio" else None
        self.cache: Any = AsyncSemanticCache(settings, **parts) if self.runner else SemanticCache(settings, **parts)

    def run(self, value: Any) -> Any:
        """Return a plain value, or what a coroutine gives."""
        if self.runner is None or not inspect.iscoroutine(value):
            return value
        if self._pid != os.getpid():  # a forked child has a loop of its own, as every child of a server has
            self._pid, self.runner = os.getpid(), asyncio.Runner()
        return self.runner.run(value)

    def lookup(self, prompt: Any, scope: Scope | Mapping[str, Any] | None = None) -> Hit | Miss:
        outcome: Hit | Miss = self.run(self.cache.lookup(prompt, scope))
        return outcome

    def fill(self, asked: Any, answer: Any, scope: Any = None, **options: Any) -> FillOutcome:
        outcome: FillOutcome = self.run(self.cache.fill(asked, answer, scope, **options))
        return outcome

    def warm_up(self, timeout_seconds: float = 20.0) -> bool:
        return bool(self.run(self.cache.warm_up(timeout_seconds)))

    def close_cache(self) -> None:
        self.run(self.cache.close())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.close_cache()
            if self.runner is not None:
                self.runner.close()

    @property
    def metrics(self) -> Metrics:
        metrics: Metrics = self.cache.metrics
        return metrics

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
