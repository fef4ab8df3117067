"""Fills: what a fill costs its caller, how many a worker stores a second, and how soon they are searchable."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import ValkeyServer, Worker, wait_until

from bench.corpus import Corpus
from bench.measure import Line, Times, against, at_least, at_most, in_turns, not_measured
from bench.provider import Provider
from bench.shelf import ANSWER, Shelf
from nearhit import Miss, MissReason, SemanticCache, Settings
from nearhit.domain import vectors
from nearhit.domain.entry import prompt_digest, to_fields
from nearhit.domain.fill_message import FIELD
from nearhit.domain.question import read_question
from nearhit.index.local import LocalEngine
from nearhit.index.local.changes import changed
from nearhit.valkey.key_names import LogKeys
from nearhit.write.fill_encoding import encode_fill
from nearhit.write.fill_log import QUEUED, TRIES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    import redis

    from nearhit.domain.question import Question
    from nearhit.valkey.key_names import CacheKeys

LANE = "interactive"
MODEL = "hash/384"
PROVIDER_SECONDS = 0.05
DRAIN_SECONDS = 120.0
_REPLICA_NOTE = "an HSET here indexes nothing by itself, and costs a twentieth of one that inserts into a graph"


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is measured: calls of ``fill``, rows a round, rounds, fills of a provider, seconds of steady fills."""

    calls: int = 2_000
    rows: int = 3_000
    rounds: int = 4
    provided: int = 6_000
    steady_seconds: float = 15.0


class Bed:
    """A server, and a worker process beside it where ``work`` is called.

    Args:
        module: the search module; empty for the local engine.
        corpus: texts with vectors; they are written under the fingerprint of ``MODEL``.
        settings: further settings of the cache.
    """

    def __init__(self, module: str, corpus: Corpus, **settings: Any) -> None:
        self.engine = "valkey-search" if module else "local"
        self.corpus = corpus
        self._module = module
        self._changes = {"threshold": 0.5, "engine": self.engine, "model": MODEL, **settings}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.server = self._stack.enter_context(ValkeyServer(self.folder / "valkey", module=self._module, durable=True))
        self.settings = Settings(url=self.server.url, enqueue_deadline_ms=5_000, **self._changes)
        self.client: redis.Redis = self._stack.enter_context(self.server.client())
        self.cache = self._stack.enter_context(SemanticCache(self.settings))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def work(self, **variables: str) -> Worker:
        """Start a worker; it ends with the block."""
        shown = {f"NEARHIT_{name.upper()}": str(value) for name, value in self._changes.items()}
        env = {**shown, "NEARHIT_URL": self.server.url, **variables}
        return self._stack.enter_context(Worker(self.folder / f"worker{len(variables)}", env))

    def miss(self, number: int, keys: CacheKeys) -> Miss:
        """Return the miss of a text, which carries its vector."""
        query = self.query(number)
        blob = vectors.to_bytes(self.corpus.vectors[number])
        return Miss(reason=MissReason.EMPTY, prompt=query.text, scope=query.scope, vector=blob, embedder=keys.embedder)

    def query(self, number: int) -> Question:
        """Return the query of a text."""
        asked: Any = read_question(f"text {number}", {})
        return asked  # type: ignore[no-any-return]  # a plain text is no bypass

    def drained(self) -> bool:
        """Whether the worker has stored all fills: an acknowledged one was indexed before."""
        keys = LogKeys(self.settings.namespace)
        pipeline: Any = self.client.pipeline(transaction=False)
        waiting = pipeline.xlen(keys.log(LANE)).zcard(keys.retry(LANE)).execute()
        return bool(waiting == [0, 0])

    def wait_drained(self) -> None:
        """Wait until the worker has stored all fills."""
        wait_until(self.drained, DRAIN_SECONDS, "the worker has stored all fills")


def lines(module: str, amounts: Amounts) -> Iterator[Line]:
    """Yield the lines of the write path: the queue's on the engine that there is, on both with a module."""
    corpus = Corpus(amounts.rows * (1 + 2 * amounts.rounds) + int(200 * amounts.steady_seconds) + 1_000)
    with Bed("", corpus) as bed:
        yield _fill_line(bed, amounts.calls)
    for path in (module, "") if module else ("",):
        with Bed(path, corpus) as bed:
            yield from _queue_lines(bed, amounts)
    yield _batching_line(corpus, amounts)


def _fill_line(bed: Bed, calls: int) -> Line:
    bed.cache.warm_up()
    misses = [bed.miss(number, Shelf(bed.settings, bed.corpus).space.keys) for number in range(1)] * (calls + 1)
    answer = f"1: {ANSWER}"
    blob = encode_fill(bed.settings.lifetimes(), misses[0], answer, {})
    stream = "bench:raw"
    ours, raw = in_turns(
        calls,
        lambda number: bed.cache.fill(misses[number], answer),
        lambda _: bed.client.execute_command(
            *("XADD", stream, "*", FIELD, blob, TRIES, 0, QUEUED, time.time_ns() // 1_000_000)
        ),
    )
    return at_most(
        "fill against an XADD of the same bytes, p50", ours.p50_us / raw.p50_us, 2.5, note=against(ours, raw)
    )


def _queue_lines(bed: Bed, amounts: Amounts) -> Iterator[Line]:
    bed.cache.warm_up()
    bed.work()
    shelf = Shelf(bed.settings, bed.corpus, model=MODEL)
    wait_until(lambda: shelf.space.engine.wait_ready(30), 60, "the reader is ready")
    queued, written = 0.0, 0.0
    rows = amounts.rows
    _queue(bed, shelf, range(rows))  # the worker's first batch opens its connections
    for turn in range(amounts.rounds):
        start = rows * (1 + 2 * turn)
        first, second = range(start, start + rows), range(start + rows, start + 2 * rows)
        if turn % 2:
            queued += _queue(bed, shelf, first)
            written += _write(bed, shelf, second)
        else:
            written += _write(bed, shelf, first)
            queued += _queue(bed, shelf, second)
    count = rows * amounts.rounds
    note = f"{count / queued:,.0f} fills/s against {count / written:,.0f} HSET/s, in turns of {rows}"
    name = f"{bed.engine}: fills a second through queue and worker against pipelined HSET into the same index"
    if bed.engine == "local":
        note += f", both until a reader's index has them; {_REPLICA_NOTE}"
    yield at_least(name, written / queued, 0.9, note=note)
    yield from _steady_lines(bed, shelf, int(100 * amounts.steady_seconds), rows * (1 + 2 * amounts.rounds))
    shelf.close()


def _queue(bed: Bed, shelf: Shelf, numbers: range) -> float:
    misses = [bed.miss(number, shelf.space.keys) for number in numbers]
    started = time.perf_counter()
    for number, miss in zip(numbers, misses, strict=True):
        bed.cache.fill(miss, f"{number}: {ANSWER}")
    bed.wait_drained()
    _wait_indexed(shelf, len(numbers))
    return time.perf_counter() - started


def _write(bed: Bed, shelf: Shelf, numbers: range) -> float:
    entries = [(shelf.space.keys.entry(one.scope, prompt_digest(one.prompt)), one) for one in map(shelf.entry, numbers)]
    started = time.perf_counter()
    for at in range(0, len(entries), 100):
        pipeline: Any = bed.client.pipeline(transaction=False)
        for key, entry in entries[at : at + 100]:
            pipeline.hset(key, mapping=to_fields(entry))
            if bed.engine == "local":  # without this no reader learns of it
                pipeline.execute_command(*changed(shelf.space.keys, key))
        pipeline.execute()
    _wait_indexed(shelf, len(numbers))
    return time.perf_counter() - started


def _wait_indexed(shelf: Shelf, more: int) -> None:
    """Wait until the reader's index has ``more`` entries more than at the last call; the server's has them at once."""
    engine = shelf.space.engine
    if isinstance(engine, LocalEngine):
        shelf.indexed += more
        end = time.perf_counter() + DRAIN_SECONDS
        while engine.stats().entries < shelf.indexed:
            if time.perf_counter() > end:
                raise TimeoutError(f"the reader has {engine.stats().entries:,} of {shelf.indexed:,} entries")
            time.sleep(0.001)


def _steady_lines(bed: Bed, shelf: Shelf, count: int, start: int) -> Iterator[Line]:
    """Fill 100 a second, and search for what was filled until it is found."""
    wait_until(lambda: shelf.space.engine.wait_ready(30), 60, "the reader is ready")
    filled: dict[int, float] = {}
    seen: list[float] = []
    begun = time.perf_counter()
    done = 0
    while len(seen) < count:
        now = time.perf_counter()
        while done < count and now >= begun + done / 100:
            filled[start + done] = time.perf_counter()
            bed.cache.fill(bed.miss(start + done, shelf.space.keys), f"{done}: {ANSWER}")
            done += 1
        found = shelf.found(list(filled))
        seen += [time.perf_counter() - filled.pop(number) for number in found]
        if now > begun + count / 100 + DRAIN_SECONDS:
            raise TimeoutError(f"{len(filled)} fills were not searchable within {DRAIN_SECONDS:.0f} s")
        time.sleep(0.002)
    times = Times(sorted(seen))
    name = f"{bed.engine}: miss to searchable at 100 fills/s, beyond the embedding call"
    note = f"{count} fills with their vectors, each searched for until it was found"
    yield at_most(f"{name}, p50", times.at(0.5), 0.3, "s", note)
    yield at_most(f"{name}, p99", times.at(0.99), 1.0, "s", note)


def _batching_line(corpus: Corpus, amounts: Amounts) -> Line:
    name = f"embedder of {PROVIDER_SECONDS * 1000:.0f} ms, 10 calls at once: fills a second against one text a call"
    few = max(100, amounts.provided // 10)
    with Provider(PROVIDER_SECONDS) as provider:
        try:
            single, _ = _provided(provider, corpus, few, 1)
            at_once = provider.at_once
            provider.at_once = 0
            batched, calls = _provided(provider, corpus, amounts.provided, 64)
        except ImportError as error:
            return not_measured(name, str(error), "≥ 8")
    note = (
        f"{batched:,.0f} fills/s in calls of {amounts.provided / calls:.0f} texts, up to {provider.at_once} at once, "
        f"against {single:,.0f} in calls of one text, up to {at_once} at once; local engine"
    )
    return at_least(name, batched / single, 8, note=note)


def _provided(provider: Provider, corpus: Corpus, count: int, batch: int) -> tuple[float, int]:
    """Return fills a second and calls, for ``count`` fills without a vector through LiteLLM and a worker.

    They come evenly, at twice the rate that ten calls at once of ``batch`` texts could bear, or 4,000 a second.
    """
    gap = max(1 / 4_000, PROVIDER_SECONDS / 10 / batch / 2)
    changes = {"model": "openai/bench-384", "concurrency": 10, "batch_max_fills": batch}
    with Bed("", corpus, **changes) as bed:
        bed.work(**provider.environment)
        for number in range(20):  # LiteLLM's import, and one connection of every thread
            bed.cache.fill(f"warm-up {number}", ANSWER)
        bed.wait_drained()
        calls, started = provider.calls, time.perf_counter()
        for number in range(count):
            bed.cache.fill(f"text {number}", f"{number}: {ANSWER}")
            time.sleep(max(0.0, started + number * gap - time.perf_counter()))
        bed.wait_drained()
        return count / (time.perf_counter() - started), provider.calls - calls
