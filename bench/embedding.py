"""Embedding: what it gives that lookups who embed at the same time share calls, with and without a distance."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit_worker.stack import ValkeyServer

from bench.measure import WARM_UP, Line, Times, against, at_most, in_turns, in_turns_async
from nearhit import AsyncSemanticCache, Hit, Settings
from nearhit.embedding.joined_embedder import JoinedEmbedder
from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.errors import EmbedderUnavailableError
from nearhit.testing import HashEmbedder
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nearhit.flow.ports import Embedder, Embeddings

AT_ONCE = (1, 16, 64, 256)
AWAY_SECONDS = 0.05
DEADLINE_SECONDS = 0.25
"""A text that takes longer is lost to its lookup."""

QUESTIONS = 1_000
_ALONE = 100
_SUBJECTS = ("my password", "the billing address", "an invoice", "two-factor login", "our company name")


class Distant(HashEmbedder):
    """The hash embedder behind a request of 50 ms."""

    in_process = False

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed after a while."""
        time.sleep(AWAY_SECONDS)
        return super().embed(texts, timeout_seconds)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed after a while."""
        await asyncio.sleep(AWAY_SECONDS)
        return super().embed(texts, timeout_seconds)


class Counted:
    """An embedder whose calls are counted."""

    def __init__(self, inner: Embedder) -> None:
        self.name, self.in_process, self.inner = inner.name, inner.in_process, inner
        self.calls = 0

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Count and embed."""
        self.calls += 1
        return self.inner.embed(texts, timeout_seconds)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Count and embed."""
        self.calls += 1
        return await self.inner.embed_async(texts, timeout_seconds)


@dataclass(slots=True)
class Side:
    """What callers saw of one embedder; ``seconds`` are those of the texts that were embedded in time."""

    embedder: Embedder
    counted: Counted
    seconds: list[float] = field(default_factory=list)
    late: int = 0
    took: float = 0.0

    @property
    def rate(self) -> float:
        """Texts that were embedded in time, a second."""
        return len(self.seconds) / self.took

    def count(self, seconds: float) -> None:
        """Count a text."""
        if seconds > DEADLINE_SECONDS:
            self.late += 1
        else:
            self.seconds.append(seconds)

    def __str__(self) -> str:
        times = Times(sorted(self.seconds or [float("nan")]))
        asked = len(self.seconds) + self.late
        return (
            f"{self.rate:,.0f}/s, p50 {times.p50_us / 1000:.1f} ms, p99 {times.p99_us / 1000:.1f} ms, "
            f"{1_000 * self.counted.calls / asked:,.0f} calls per 1,000 texts, {self.late / asked:.0%} too late"
        )


def lines(texts_each: int) -> Iterator[Line]:
    """Yield what sharing gives at each number of callers, for both twins, and what it costs a caller alone.

    Args:
        texts_each: texts of a caller in a measurement; at least 48 texts are embedded in all.
    """
    kinds: dict[str, Embedder] = {"local/minilm": MiniLMEmbedder(), "50 ms away": Distant(8)}
    for name, inner in kinds.items():
        inner.embed(["a text that loads the model"], 60.0)
        yield from _alone(name, inner)
        for twin in ("threads", "asyncio"):
            for at_once in AT_ONCE[1:]:
                yield _line(f"{name}, {twin}, {at_once} at once", inner, at_once, texts_each)
    yield _requests()


def _alone(name: str, inner: Embedder) -> Iterator[Line]:
    joined, text = JoinedEmbedder(inner), _texts(_ALONE + WARM_UP)

    async def awaited() -> list[Times]:
        return await in_turns_async(
            _ALONE,
            lambda n: joined.embed_async([text[n]], 60.0),
            lambda n: inner.embed_async([text[n]], 60.0),
        )

    blocking = in_turns(_ALONE, lambda n: joined.embed([text[n]], 60.0), lambda n: inner.embed([text[n]], 60.0))
    for twin, (ours, bare) in (("threads", blocking), ("asyncio", asyncio.run(awaited()))):
        title = f"{name}, {twin}: one text at a time, shared calls against bare ones, p50"
        yield at_most(title, ours.p50_us / bare.p50_us, 1.05, note=against(ours, bare))


def _line(name: str, inner: Embedder, at_once: int, texts_each: int) -> Line:
    sides = []
    for wrap in (JoinedEmbedder, lambda embedder: embedder):
        counted = Counted(inner)
        sides.append(Side(wrap(counted), counted))
    texts = (
        _texts(max(48, at_once * texts_each)) if inner.in_process else [f"q{n}" for n in range(at_once * texts_each)]
    )
    for turn in range(2):  # each side comes first once
        for side in sides if turn else sides[::-1]:
            started = time.perf_counter()
            if "asyncio" in name:
                asyncio.run(_ask_awaiting(side, texts, at_once))
            else:
                _ask(side, texts, at_once)
            side.took += time.perf_counter() - started
    ours, bare = sides
    return Line(f"{name}: embedded within {DEADLINE_SECONDS:g} s", ours.rate, "texts/s", note=f"{ours}; bare: {bare}")


def _ask(side: Side, texts: list[str], at_once: int) -> None:
    def one(text: str) -> None:
        started = time.perf_counter()
        with suppress(EmbedderUnavailableError):
            side.embedder.embed([text], DEADLINE_SECONDS)
        side.count(time.perf_counter() - started)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, texts))


async def _ask_awaiting(side: Side, texts: list[str], at_once: int) -> None:
    left = deque(texts)

    async def keep_asking() -> None:
        while left:
            text, started = left.popleft(), time.perf_counter()
            with suppress(EmbedderUnavailableError, TimeoutError):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await side.embedder.embed_async([text], DEADLINE_SECONDS)
            side.count(time.perf_counter() - started)

    await asyncio.gather(*(keep_asking() for _ in range(at_once)))


def _requests() -> Line:
    """Return how many requests lookups of different questions make."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as server:
        settings = Settings(
            threshold=0.8, url=server.url, model="hash/384", guard=False, engine="local", deadline_ms=5_000
        )
        store = Store(settings)
        store.put(*(store.entry(text, number) for number, text in enumerate(_texts(QUESTIONS))))
        store.close()
        counted = Counted(Distant(384))
        hits = asyncio.run(_look_up(settings, counted))
    name = f"50 ms away, asyncio, {max(AT_ONCE)} lookups at once: requests for {QUESTIONS:,} different questions"
    return at_most(name, counted.calls, 100, "requests", f"{hits:,} hits")


async def _look_up(settings: Settings, counted: Counted) -> int:
    room = asyncio.Semaphore(max(AT_ONCE))
    async with AsyncSemanticCache(settings, embedder=counted) as cache:
        await cache.warm_up(60)
        counted.calls = 0

        async def one(text: str) -> bool:
            async with room:
                return isinstance(await cache.lookup(text.upper()), Hit)

        return sum(await asyncio.gather(*map(one, _texts(QUESTIONS))))


def _texts(count: int) -> list[str]:
    return [f"How do I change {_SUBJECTS[number % len(_SUBJECTS)]} in account {number}?" for number in range(count)]
