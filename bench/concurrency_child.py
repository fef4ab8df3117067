"""Concurrency child: one side of the comparison in a process of its own, asked line by line over its standard input.

Arguments: ``nearhit`` or ``litellm``, the server's url, the texts as JSON, and their vectors as rows of float32. Runs
as a script in either side's interpreter, so that both are measured by the very same lines. Neither pays for embeddings:
the given vectors are looked up. Everything else is as it ships, LiteLLM without hiredis, which only its extra
``proxy`` brings.

A line is a JSON object with what to do; the answer is one with what was measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import threading
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

KEY = "bench"
BUSY_SECONDS, FREE_SECONDS = 0.010, 0.002
"""What a busy event loop does: 10 ms of work in every 12."""


class Nearhit:
    """Both caches of Nearhit, with its defaults.

    Args:
        url: of the server.
        places: the row of each text.
        rows: the vectors.
    """

    def __init__(self, url: str, places: dict[str, int], rows: Any) -> None:
        from nearhit import AsyncSemanticCache, SemanticCache, Settings  # noqa: PLC0415 - LiteLLM's side has none of it

        self._settings = Settings(threshold=0.5, url=url, engine="valkey-search")
        self._forgetful = Settings(threshold=0.5, url=url, engine="valkey-search", vector_cache_entries=0)
        embedder: Any = _Looked(places, rows)
        self._make: Callable[[bool], Any] = lambda fresh: AsyncSemanticCache(
            self._forgetful if fresh else self._settings, embedder=embedder
        )
        self._make_blocking: Callable[[], Any] = lambda: SemanticCache(self._settings, embedder=embedder)
        self._caches: dict[bool, Any] = {}
        self._blocking: Any = None

    async def start(self, fresh: bool) -> Callable[[str], Awaitable[Any]]:
        """Return what asks in an event loop; ``fresh`` knows no vector from an earlier question."""
        cache = self._caches.get(fresh)
        if cache is None:
            cache = self._caches[fresh] = self._make(fresh)
            await cache.warm_up(60)
        return lambda text: cache.lookup(messages(text))

    def start_blocking(self) -> Callable[[str], Any]:
        """Return what asks from threads."""
        if self._blocking is None:
            self._blocking = self._make_blocking()
            self._blocking.warm_up(60)
        cache = self._blocking
        return lambda text: cache.lookup(messages(text))

    async def misses(self, count: int) -> list[Any]:
        """Return what as many lookups have given, vectors and all."""
        from nearhit.domain.outcome import Miss, MissReason  # noqa: PLC0415 - as above

        await self.start(fresh=False)
        same: dict[str, Any] = {
            "reason": MissReason.EMPTY,
            "scope": "0" * 32,
            "vector": bytes(4 * 384),
            "embedder": "0" * 12,
        }
        return [Miss(prompt=f"text {number}", **same) for number in range(count)]

    async def fill(self, miss: Any, answer: str) -> str:
        """Give the answer to a question that was missed."""
        return str((await self._caches[False].fill(miss, answer)).value)

    @staticmethod
    def said(found: Any, text: str) -> str:
        """Return ``hit`` where an outcome is the text's own answer, else what it is."""
        if not found:
            return str(found.reason.value)
        return "hit" if str(found.answer).startswith(text.partition(" ")[2] + ": ") else "another answer"


class _Looked:
    """An embedder that looks vectors up."""

    name = "bench/384"
    in_process = True

    def __init__(self, places: dict[str, int], rows: Any) -> None:
        import numpy as np  # noqa: PLC0415 - as above

        from bench.corpus import Corpus  # noqa: PLC0415 - as above
        from nearhit.flow.ports import Embeddings  # noqa: PLC0415 - as above

        self._places = places
        self._rows = np.frombuffer(rows, dtype=np.float32).reshape(len(places), -1)
        self._others = Corpus(1)  # for the texts by which a cache tells embedders apart
        self._made = Embeddings

    def embed(self, texts: Any, timeout_seconds: float) -> Any:
        """Return the vectors."""
        if texts[0] not in self._places:
            return self._others.embed(texts, timeout_seconds)
        return self._made(self._rows[[self._places[text] for text in texts]])

    async def embed_async(self, texts: Any, timeout_seconds: float) -> Any:
        """Return the vectors."""
        return self.embed(texts, timeout_seconds)


class LiteLLM:
    """LiteLLM's ``ValkeySemanticCache``; arguments as those of ``Nearhit``."""

    def __init__(self, url: str, places: dict[str, int], rows: Any) -> None:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        sys.modules["hiredis"] = None  # type: ignore[assignment]  # an import of it then fails, as without the package
        from litellm.caching.valkey_semantic_cache import (  # noqa: PLC0415 - its environment is set first
            ValkeySemanticCache,
        )

        wide = len(rows) // len(places)
        known = {text: array("f", rows[at * wide : (at + 1) * wide]).tolist() for text, at in places.items()}

        async def look_up(prompt: str, **_: Any) -> Any:
            return known[prompt]

        self._cache: Any = ValkeySemanticCache(redis_url=url.replace("valkey://", "redis://"), similarity_threshold=0.5)
        self._cache._get_embedding = lambda prompt, **_: known[prompt]  # noqa: SLF001 - it must cost nothing
        self._cache._get_async_embedding = look_up  # noqa: SLF001 - the same

    async def start(self, fresh: bool) -> Callable[[str], Awaitable[Any]]:  # noqa: ARG002 - it remembers no vector
        """Return what asks in an event loop."""
        return lambda text: self._cache.async_get_cache(KEY, messages=messages(text))

    def start_blocking(self) -> Callable[[str], Any]:
        """Return what asks from threads."""
        return lambda text: self._cache.get_cache(KEY, messages=messages(text))

    @staticmethod
    def said(found: Any, text: str) -> str:
        """Return ``hit`` where the answer is the text's own, else ``miss``."""
        own = isinstance(found, dict) and str(found.get("response", "")).startswith(text.partition(" ")[2] + ": ")
        return "hit" if own else "miss"


class Measured:
    """Asks one side and measures.

    Args:
        side: who is asked.
    """

    def __init__(self, side: Any) -> None:
        self._side = side
        self._seconds: list[float] = []
        self._said: Counter[str] = Counter()

    async def awaited(self, asked: list[str], at_once: int, fresh: bool, busy: bool) -> dict[str, Any]:
        """Ask with so many coroutines at a time, on an event loop that may be ``busy`` with other things."""
        ask = await self._side.start(fresh)

        async def one(text: str) -> None:
            started = time.perf_counter()
            found = await ask(text)
            self._note(text, found, started)

        for _ in range(2):  # every connection is made, every vector known
            await _crowd(one, asked[: 2 * at_once], at_once)
        work = asyncio.create_task(_work()) if busy else None
        begun = self._begin()
        await _crowd(one, asked, at_once)
        if work is not None:
            work.cancel()
        return self._end(begun)

    def threads(self, asked: list[str], at_once: int) -> dict[str, Any]:
        """Ask with so many threads at a time."""
        ask = self._side.start_blocking()

        def one(text: str) -> None:
            started = time.perf_counter()
            found = ask(text)
            self._note(text, found, started)

        for _ in range(2):
            _run_threads(one, asked[: 2 * at_once], at_once)
        begun = self._begin()
        _run_threads(one, asked, at_once)
        return self._end(begun)

    async def fills(self, count: int, at_once: int, answer: str) -> dict[str, Any]:
        """Fill with so many coroutines at a time."""

        async def one(miss: Any) -> None:
            started = time.perf_counter()
            outcome = await self._side.fill(miss, answer)
            self._seconds.append(time.perf_counter() - started)
            self._said[outcome] += 1

        await _crowd(one, await self._side.misses(2 * at_once), at_once)
        misses = await self._side.misses(count)
        begun = self._begin()
        await _crowd(one, misses, at_once)
        return self._end(begun)

    def _note(self, text: str, found: Any, started: float) -> None:
        self._seconds.append(time.perf_counter() - started)
        self._said[self._side.said(found, text)] += 1

    def _begin(self) -> tuple[float, float]:
        self._seconds, self._said = [], Counter()
        return time.perf_counter(), _cpu()

    def _end(self, begun: tuple[float, float]) -> dict[str, Any]:
        seconds, cpu = time.perf_counter() - begun[0], _cpu() - begun[1]
        return {"seconds": seconds, "cpu": cpu, "each": self._seconds, "said": self._said}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _crowd(work: Callable[[Any], Awaitable[None]], items: Any, at_once: int) -> None:
    left: Iterator[Any] = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(at_once)))


def _run_threads(work: Callable[[Any], None], items: list[str], at_once: int) -> None:
    def worker(own: list[str]) -> None:
        for item in own:
            work(item)

    threads = [threading.Thread(target=worker, args=(items[at::at_once],)) for at in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def _work() -> None:
    while True:
        end = time.perf_counter() + BUSY_SECONDS
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(FREE_SECONDS)


def messages(text: str) -> list[dict[str, str]]:
    """Return the chat that asks ``text``."""
    return [{"role": "user", "content": text}]


def main() -> None:
    """Answer until the input ends."""
    name, url, texts_path, rows_path = sys.argv[1:5]
    texts = json.loads(Path(texts_path).read_text())
    places = {text: at for at, text in enumerate(texts)}
    side = {"nearhit": Nearhit, "litellm": LiteLLM}[name](url, places, Path(rows_path).read_bytes())
    measured = Measured(side)
    print("ready", flush=True)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            order = json.loads(line)
            at_once, asked = order["at_once"], [texts[number] for number in order.get("asked", ())]
            if order["do"] == "awaited":
                got = runner.run(measured.awaited(asked, at_once, order["fresh"], order["busy"]))
            elif order["do"] == "threads":
                got = measured.threads(asked, at_once)
            else:
                got = runner.run(measured.fills(order["count"], at_once, order["answer"]))
            print(json.dumps(got), flush=True)


if __name__ == "__main__":
    main()
