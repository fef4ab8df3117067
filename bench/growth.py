"""Growth: how both engines do from 1,000 to a million entries, where the machine's memory and a time limit allow it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit_worker.stack import ValkeyServer

from bench import reader
from bench.corpus import Corpus
from bench.lookups import ASKED
from bench.measure import Line, in_turns, not_measured
from bench.report import available_gib
from bench.shelf import Shelf
from nearhit import SemanticCache, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB_FOR_A_MILLION = {"local": 10.0, "valkey-search": 9.0}
"""The corpus takes 1.5; the server 3.5, or with the graph 4.5; a reader of the local engine 1.5; and room."""

FILL_SECONDS = {"local": 300.0, "valkey-search": 720.0}
"""For how long an engine is filled: inserting into a graph becomes slower the larger it is."""

_CALLS = 500


def lines(module: str, sizes: tuple[int, ...]) -> Iterator[Line]:
    """Yield how both engines do at each size; the search engine only where there is a module."""
    if not sizes:
        yield not_measured("growth to 1,000,000 entries", "left out of the quick form")
        return
    for engine in ("local", "valkey-search"):
        wanted = GIB_FOR_A_MILLION[engine] * max(sizes) / 1e6
        if engine == "valkey-search" and not module:
            yield not_measured(f"{engine}: growth", "no search module was given")
        elif available_gib() < wanted:
            yield not_measured(
                f"{engine}: growth", f"{available_gib():.0f} GiB of memory are free, {wanted:.0f} needed"
            )
        else:
            yield from _engine(engine, module, sizes)


def _engine(engine: str, module: str, sizes: tuple[int, ...]) -> Iterator[Line]:
    corpus = Corpus(max(sizes))
    loaded = module if engine == "valkey-search" else ""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder), module=loaded) as server:
        settings = Settings(
            threshold=0.5,
            url=server.url,
            engine=engine,
            guard=False,
            deadline_ms=5_000,
            vector_cache_entries=2 * ASKED,
            local_max_entries=max(sizes) + 1,
        )
        shelf = Shelf(replace(settings, local_max_entries=1), corpus)
        end = time.perf_counter() + FILL_SECONDS[engine]
        for size in sizes:
            before = shelf.filled
            started = time.perf_counter()
            try:
                shelf.grow(size, end - started)
            except TimeoutError as error:
                yield not_measured(f"growth, {engine}, {size:,} entries", f"{error}, so that many are measured")
            rate = (shelf.filled - before) / (time.perf_counter() - started)
            name = f"growth, {engine}, {shelf.filled:,} entries"
            yield Line(f"{name}: upserts while growing to it", rate, "entries/s")
            with server.client() as client:
                used = int(client.info("memory")["used_memory"]) / 2**20
            yield Line(f"{name}: memory of the server", used, "MiB")
            if engine == "local":
                yield from _reader(name, settings, shelf.filled)
            yield from _lookups(name, settings, corpus, shelf.filled)
            if shelf.filled < size:
                return


def _reader(name: str, settings: Settings, size: int) -> Iterator[Line]:
    try:
        loaded = reader.load(settings.url, size + 1)
    except TimeoutError as error:
        yield not_measured(f"{name}: reader", str(error))
        return
    yield Line(f"{name}: bootstrap of a reader", loaded.seconds, "s")
    yield Line(f"{name}: memory of a reader above its base", loaded.mib, "MiB")


def _lookups(name: str, settings: Settings, corpus: Corpus, size: int) -> Iterator[Line]:
    with SemanticCache(settings, embedder=corpus) as cache:
        if not cache.warm_up(reader.LOAD_SECONDS):
            yield not_measured(f"{name}: lookups", f"the cache was not ready within {reader.LOAD_SECONDS:.0f} s")
            return
        (exact,) = in_turns(_CALLS, lambda number: cache.lookup(f"text {number * 4_999 % size}"))
        yield Line(f"{name}: exact hit, p50", exact.p50_us / 1000, "ms", note=f"p99 {exact.p99_us / 1000:.3f} ms")
        asked = [f"ask {number * 4_999 % size}" for number in range(ASKED)]
        cache.lookup_many(asked)
        (near,) = in_turns(_CALLS, lambda number: cache.lookup(asked[number % ASKED]))
        note = f"p99 {near.p99_us / 1000:.3f} ms"
        yield Line(f"{name}: semantic lookup, embedding free, p50", near.p50_us / 1000, "ms", note=note)
