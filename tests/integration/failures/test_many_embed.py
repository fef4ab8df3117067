"""Many lookups at once that must embed: few calls, every answer right, and nothing lost."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from nearhit import AsyncSemanticCache, Hit, SemanticCache
from nearhit.testing import HashEmbedder
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit import Miss
    from nearhit.flow.ports import Embeddings

QUESTIONS, AT_ONCE = 1_000, 256


class Distant(HashEmbedder):
    """The hash embedder behind a request of half a second."""

    in_process = False

    def __init__(self) -> None:
        super().__init__(64)
        self.requests = 0

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.requests += 1
        time.sleep(0.5)
        return super().embed(texts, timeout_seconds)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.requests += 1
        await asyncio.sleep(0.5)
        return super().embed(texts, timeout_seconds)


def at_once(kind: str, settings: Any, embedder: Distant, texts: list[str]) -> list[Hit | Miss]:
    if kind == "sync":
        with SemanticCache(settings, embedder=embedder) as cache, ThreadPoolExecutor(AT_ONCE) as pool:
            assert cache.warm_up()
            embedder.requests = 0
            return list(pool.map(cache.lookup, texts))

    async def run() -> list[Hit | Miss]:
        room = asyncio.Semaphore(AT_ONCE)
        async with AsyncSemanticCache(settings, embedder=embedder) as cache:
            assert await cache.warm_up()
            embedder.requests = 0

            async def one(text: str) -> Hit | Miss:
                async with room:
                    return await cache.lookup(text)

            return list(await asyncio.gather(*map(one, texts)))

    return asyncio.run(run())


@pytest.mark.parametrize("repeats", [1, 5], ids=["different questions", "every question five times"])
def test_questions_that_are_embedded_far_away_share_requests(kind: str, own_settings: Any, repeats: int) -> None:
    """The deadline is long: how many requests are made is the matter here, on however slow a machine."""
    settings = own_settings(deadline_ms=10_000)
    store = Store(own_settings())
    store.put(*(store.entry(f"What is the number {number}?", number) for number in range(QUESTIONS // repeats)))
    store.close()
    embedder = Distant()
    numbers = [number for number in range(QUESTIONS // repeats) for _ in range(repeats)]
    found = at_once(kind, settings, embedder, [f"what is the number {number}" for number in numbers])
    assert [one.answer if isinstance(one, Hit) else one.reason for one in found] == numbers
    assert embedder.requests <= 100
