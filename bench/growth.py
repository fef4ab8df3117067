"""Growth: the local engine at a million entries, where the machine's memory and a time limit allow it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import reader
from bench.corpus import Corpus
from bench.lookups import ASKED
from bench.measure import Line, in_turns, not_measured
from bench.report import available_gib
from bench.shelf import Shelf
from nearhit import SemanticCache, Settings
from worker.stack import ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB_FOR_A_MILLION = 10.0
"""1.5 for the corpus, 3.5 for the server, 1.5 for the reader, and room."""

FILL_SECONDS = 300.0


def lines(size: int) -> Iterator[Line]:
    """Yield how a reader of ``size`` entries does; a size of 0 is left out."""
    name = f"local, {size:,} entries"
    if not size:
        yield not_measured("local, 1,000,000 entries", "left out of the quick form")
        return
    free, wanted = available_gib(), GIB_FOR_A_MILLION * size / 1e6
    if free < wanted:
        yield not_measured(name, f"{free:.0f} GiB of memory are free, {wanted:.0f} are needed")
        return
    corpus = Corpus(size)
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as server:
        settings = Settings(
            threshold=0.5,
            url=server.url,
            engine="local",
            guard=False,
            deadline_ms=5_000,
            vector_cache_entries=2 * ASKED,
            local_max_entries=size + 1,
        )
        try:
            rate = Shelf(replace(settings, local_max_entries=1), corpus).grow(size, FILL_SECONDS)
        except TimeoutError as error:
            yield not_measured(name, str(error))
            return
        yield Line(f"{name}: upserts while growing to it", rate, "entries/s")
        yield from _reader(name, settings, corpus)


def _reader(name: str, settings: Settings, corpus: Corpus) -> Iterator[Line]:
    try:
        loaded = reader.load(settings.url, corpus.size + 1)
    except TimeoutError as error:
        yield not_measured(f"{name}: reader", str(error))
        return
    yield Line(f"{name}: bootstrap of a reader", loaded.seconds, "s")
    yield Line(f"{name}: memory of a reader above its base", loaded.mib, "MiB")
    with SemanticCache(settings, embedder=corpus) as cache:
        if not cache.warm_up(FILL_SECONDS):
            yield not_measured(f"{name}: semantic lookup", f"the reader did not load within {FILL_SECONDS:.0f} s")
            return
        asked = [f"ask {number * 4_999 % corpus.size}" for number in range(ASKED)]
        cache.lookup_many(asked)
        (ours,) = in_turns(300, lambda number: cache.lookup(asked[number % ASKED]))
        note = f"p99 {ours.p99_us / 1000:.3f} ms"
        yield Line(f"{name}: semantic lookup, embedding free, p50", ours.p50_us / 1000, "ms", note=note)
