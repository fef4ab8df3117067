"""Ready cache: a cache with its model loaded and its index open, or an error that says why not."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nearhit.cache import SemanticCache
from nearhit.cli.servers import unanswered
from nearhit.domain.outcome import Miss, MissReason
from nearhit.embedding.fingerprint import PROBE_TEXT
from nearhit.errors import ConfigError, EmbedderUnavailableError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nearhit.settings import Settings

OPEN_SECONDS = 60.0
"""How long the model and the index may take to open; this includes a first import of LiteLLM."""


@contextmanager
def ready_cache(settings: Settings) -> Iterator[SemanticCache]:
    """Give a cache whose model is loaded and whose index is open; it is closed with the block."""
    with SemanticCache(settings) as cache:
        wait_until_ready(cache, settings)
        yield cache


def wait_until_ready(cache: SemanticCache, settings: Settings, timeout_seconds: float = OPEN_SECONDS) -> None:
    """Return once ``cache`` is open; a part that does not answer ends the wait at once."""
    end = time.monotonic() + timeout_seconds
    while not cache.warm_up(0.25):
        outcome = cache.lookup(PROBE_TEXT)
        if isinstance(outcome, Miss):
            raise_unanswered(outcome, settings)
        if time.monotonic() > end:
            detail = outcome.detail if isinstance(outcome, Miss) else ""
            raise UnavailableError(f"the cache is not open after {timeout_seconds:g} s: {detail}")


def raise_unanswered(miss: Miss, settings: Settings) -> None:
    """Raise when ``miss`` says that a part does not answer; return when it is about the question."""
    if miss.reason is MissReason.UNAVAILABLE:
        raise unanswered("cache server", settings.server(), miss.detail)
    if miss.reason is MissReason.EMBEDDER_UNAVAILABLE:
        raise EmbedderUnavailableError(f"the embedder {settings.model!r} does not answer: {miss.detail}")
    if miss.reason is MissReason.MISCONFIGURED:
        raise ConfigError(miss.detail)
