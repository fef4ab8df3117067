"""Lookups: what a lookup costs against the raw commands that it sends, as the cache grows; both engines, both twins."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis.asyncio
from nearhit_worker.stack import ValkeyServer

from bench import quick_search, reader
from bench.corpus import Corpus
from bench.measure import Line, against, at_most, in_turns, in_turns_async, not_measured
from bench.shelf import Shelf
from nearhit import AsyncSemanticCache, SemanticCache, Settings
from nearhit.domain import vectors
from nearhit.domain.entry import READ_FIELDS, prompt_digest
from nearhit.domain.scope import Scope, scope_digest
from nearhit.index.quick_search import CANDIDATES
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit.valkey import search_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measure import Times

ASKED = 200
"""Rewordings asked in turns: their vectors are known to the process, so that embedding costs nothing."""

_LOCAL_GOALS_MIB = {100_000: 170}
_LOCAL_GOALS_MS = {10_000: 0.25, 100_000: 1.5}


@dataclass(frozen=True, slots=True)
class Case:
    """One engine at one size, and all that is asked of it.

    Attributes:
        engine: its name.
        size: entries in the cache.
        server: where it runs.
        settings: of the readers.
        shelf: what filled it.
        corpus: texts and vectors.
        calls: calls a measurement.
    """

    engine: str
    size: int
    server: ValkeyServer
    settings: Settings
    shelf: Shelf
    corpus: Corpus
    calls: int

    @property
    def asked(self) -> list[str]:
        """The rewordings."""
        return [f"ask {number * 37 % self.size}" for number in range(ASKED)]

    def key(self, number: int) -> str:
        """Return the key of the entry that exact hits find."""
        scope = scope_digest(Scope.of(None))
        return self.shelf.space.keys.entry(scope, prompt_digest(f"text {number % self.size}"))

    def searches(self) -> list[tuple[Any, ...]]:
        """Return the FT.SEARCH commands that lookups of ``asked`` send."""
        engine = self.shelf.space.engine
        index = engine.index if isinstance(engine, ValkeySearchEngine) else ""
        scope = scope_digest(Scope.of(None))
        made = self.corpus.embed(self.asked, 1.0).vectors
        return [search_protocol.search(index, scope, vectors.to_bytes(row), 1, CANDIDATES) for row in made]

    def exact_line(self, ours: Times, raw: Times, twin: str) -> Line:
        """Return the line of exact hits."""
        name = f"{self.engine}, {self.size:,} entries{twin}: exact hit against its HMGET, p50"
        return at_most(name, ours.p50_us / raw.p50_us, 1.5, note=against(ours, raw))

    def semantic_lines(self, ours: Times, raw: Times, twin: str) -> Iterator[Line]:
        """Yield the lines of semantic hits."""
        name = f"{self.engine}, {self.size:,} entries{twin}: semantic lookup, embedding free, against its FT.SEARCH"
        yield at_most(f"{name}, p50", ours.p50_us / raw.p50_us, 1.15, note=against(ours, raw))
        yield at_most(f"{name}, p99", ours.p99_us / raw.p99_us, 1.5, note=against(ours, raw))


def lines(module: str, sizes: tuple[int, ...], calls: int = 2_000) -> Iterator[Line]:
    """Yield the lines of both engines at each size; those of the search engine only where there is a module."""
    corpus = Corpus(max(sizes))
    for engine in ("valkey-search", "local"):
        if engine == "valkey-search" and not module:
            yield not_measured(
                "valkey-search engine: lookups", "no search module was given", "the ratios of the others"
            )
            continue
        with (
            tempfile.TemporaryDirectory() as folder,
            ValkeyServer(Path(folder), module=module if engine == "valkey-search" else "") as server,
        ):
            settings = Settings(
                threshold=0.5,
                url=server.url,
                engine=engine,
                guard=False,
                deadline_ms=5_000,
                vector_cache_entries=2 * ASKED,
                local_max_entries=max(sizes) + 1,
            )
            shelf = Shelf(settings, corpus)
            for size in sizes:
                rate = shelf.grow(size)
                yield Line(f"{engine}, {size:,} entries: upserts while growing to it", rate, "entries/s")
                yield from _case(Case(engine, size, server, settings, shelf, corpus, calls))


def _case(case: Case) -> Iterator[Line]:
    if case.engine == "local":
        yield from _reader_lines(case)
    with SemanticCache(case.settings, embedder=case.corpus) as cache:
        if not cache.warm_up(300):
            yield not_measured(f"{case.engine}, {case.size:,} entries", "the cache did not open", "to be measured")
            return
        yield from _blocking(case, cache)
    yield from asyncio.run(_awaited(case))
    if case.engine == "valkey-search":
        yield from quick_search.lines(case.settings, case.shelf, case.corpus, case.calls)


def _reader_lines(case: Case) -> Iterator[Line]:
    loaded = reader.load(case.server.url, case.size + 1)
    name = f"local, {case.size:,} entries"
    yield Line(f"{name}: bootstrap of a reader", loaded.seconds, "s")
    name += ": memory of a reader above its base"
    limit = _LOCAL_GOALS_MIB.get(case.size)
    yield at_most(name, loaded.mib, limit, "MiB") if limit else Line(name, loaded.mib, "MiB")


def _blocking(case: Case, cache: SemanticCache) -> Iterator[Line]:
    with case.server.client() as raw:
        keys = [case.key(number) for number in range(case.calls)]
        exact, hmget = in_turns(
            case.calls,
            lambda n: cache.lookup(f"text {n % case.size}"),
            lambda n: raw.execute_command("HMGET", keys[n - case.calls // 2], *READ_FIELDS),
        )
        yield case.exact_line(exact, hmget, "")
        cache.lookup_many(case.asked)
        if case.engine == "local":
            (ours,) = in_turns(case.calls, lambda n: cache.lookup(case.asked[n % ASKED]))
            yield _local_line(case, ours)
            return
        asked, searches = case.asked, case.searches()
        ours, theirs = in_turns(
            case.calls,
            lambda n: cache.lookup(asked[n % ASKED]),
            lambda n: raw.execute_command(*searches[(n + ASKED // 2) % ASKED]),
        )
        yield from case.semantic_lines(ours, theirs, "")


async def _awaited(case: Case) -> list[Line]:
    raw = redis.asyncio.Redis(host="127.0.0.1", port=case.server.port)
    async with raw, AsyncSemanticCache(case.settings, embedder=case.corpus) as cache:
        await cache.warm_up(300)
        keys = [case.key(number) for number in range(case.calls)]
        exact, hmget = await in_turns_async(
            case.calls,
            lambda n: cache.lookup(f"text {n % case.size}"),
            lambda n: raw.execute_command("HMGET", keys[n - case.calls // 2], *READ_FIELDS),
        )
        found = [case.exact_line(exact, hmget, ", asyncio")]
        if case.engine == "valkey-search":
            await cache.lookup_many(case.asked)
            asked, searches = case.asked, case.searches()
            ours, theirs = await in_turns_async(
                case.calls,
                lambda n: cache.lookup(asked[n % ASKED]),
                lambda n: raw.execute_command(*searches[(n + ASKED // 2) % ASKED]),
            )
            found += case.semantic_lines(ours, theirs, ", asyncio")
        return found


def _local_line(case: Case, ours: Times) -> Line:
    name = f"local, {case.size:,} entries: semantic lookup, embedding free, p50"
    limit, note = _LOCAL_GOALS_MS.get(case.size), f"p99 {ours.p99_us / 1000:.3f} ms"
    value = ours.p50_us / 1000
    return at_most(name, value, limit, "ms", note) if limit else Line(name, value, "ms", note=note)
