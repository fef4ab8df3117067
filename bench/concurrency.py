"""Concurrency: many lookups at a time beside LiteLLM's ValkeySemanticCache, each as it ships, on the same server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import ValkeyServer

from bench import seed
from bench.corpus import Corpus
from bench.measure import Line, Times, at_least, at_most, not_measured
from bench.shelf import ANSWER, Shelf
from nearhit import Settings
from nearhit.domain import vectors
from nearhit.domain.entry import prompt_digest
from nearhit.domain.scope import Scope, scope_digest
from nearhit.index.quick_search import CANDIDATES
from nearhit.valkey import search_protocol
from nearhit.valkey.reply_reader import NO_REPLY, ReplyReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

REWORDINGS = 2_000
"""Texts that semantic lookups ask for at most: each of them is another text of an entry."""

NAME = "LiteLLM's"


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is measured.

    Attributes:
        size: entries in the cache.
        sizes: entries at which one lookup at a time is measured.
        at_once: how many coroutines ask at a time.
        threads: how many threads do.
        calls: lookups of a turn, at least four for each that is in flight.
        rounds: turns of each side.
        fills: fills of a turn.
        busy: coroutines on a busy event loop, and how often each asks.
    """

    size: int = 10_000
    sizes: tuple[int, ...] = (1_000, 10_000, 100_000)
    at_once: tuple[int, ...] = (1, 16, 64, 256, 1_024)
    threads: tuple[int, ...] = (1, 8, 64, 256)
    calls: int = 2_000
    rounds: int = 3
    fills: int = 10_000
    busy: tuple[int, int] = (500, 6)

    def count(self, at_once: int) -> int:
        """Return how many lookups a turn has."""
        return max(self.calls, 4 * at_once)


class Side:
    """One side in its own process.

    Args:
        name: ``nearhit`` or ``litellm``.
        python: its interpreter.
        url: of the server.
        folder: where texts and vectors are.
    """

    def __init__(self, name: str, python: Path, url: str, folder: Path) -> None:
        script = Path(__file__).with_name("concurrency_child.py")
        self._process = subprocess.Popen(
            [str(python), str(script), name, url, str(folder / "texts"), str(folder / "rows")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(script.parents[1]) if name == "nearhit" else ""},
        )

    def __enter__(self) -> Self:
        while (heard := self._hear()) != "ready":  # an import may print what it likes
            if not heard:
                raise RuntimeError("a side of the comparison does not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, **order: Any) -> dict[str, Any]:
        """Have it done, and return what was measured."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it was opened as a pipe
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        heard = self._hear()
        if not heard:
            raise RuntimeError("a side of the comparison has ended")
        return dict(json.loads(heard))

    def _hear(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - the same
        return self._process.stdout.readline().strip()


@dataclass(slots=True)
class Taken:
    """What one side took in all its turns of one row."""

    seconds: float = 0.0
    cpu: float = 0.0
    each: list[float] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)

    def add(self, got: dict[str, Any]) -> None:
        """Take a turn in."""
        self.seconds += got["seconds"]
        self.cpu += got["cpu"]
        self.each += got["each"]
        self.said.update(got["said"])

    @property
    def count(self) -> int:
        """Lookups, or fills."""
        return self.said.total()

    @property
    def rate(self) -> float:
        """Lookups a second."""
        return self.count / self.seconds

    @property
    def times(self) -> Times:
        """What each took."""
        return Times(sorted(self.each))

    @property
    def cpu_us(self) -> float:
        """CPU time of the client for each, user and system."""
        return self.cpu / self.count * 1e6

    def lost(self, good: str = "hit") -> str:
        """Return what else came than ``good``, as words."""
        return ", ".join(f"{name} {count:,}" for name, count in self.said.items() if name != good)


@dataclass(slots=True)
class Both:
    """A row: both sides, and what a bare socket makes of the same commands; ``None`` where it was not asked."""

    ours: Taken = field(default_factory=Taken)
    theirs: Taken = field(default_factory=Taken)
    bare_rate: float | None = None

    @property
    def faster(self) -> float:
        """Our rate against theirs."""
        return self.ours.rate / self.theirs.rate

    def note(self) -> str:
        """Return what stands behind the ratio."""
        ours, theirs = self.ours, self.theirs
        words = [
            f"{ours.rate:,.0f}/s against {theirs.rate:,.0f}/s",
            f"p50 {_ms(ours.times.at(0.5))} against {_ms(theirs.times.at(0.5))}",
            f"p99 {_ms(ours.times.at(0.99))} against {_ms(theirs.times.at(0.99))}",
        ]
        if self.bare_rate:
            share, other = ours.rate / self.bare_rate, theirs.rate / self.bare_rate
            words.append(f"{share:.0%} of a bare socket's {self.bare_rate:,.0f}/s, LiteLLM {other:.0%}")
        lost = [f"{name} {what}" for name, what in (("Nearhit", ours.lost()), ("LiteLLM", theirs.lost())) if what]
        return "; ".join([*words, *lost])


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


class Bed:
    """A server, both sides beside it, and the entries of a corpus in each one's index.

    Args:
        module: the search module.
        size: entries.
        amounts: how much is measured.
    """

    def __init__(self, module: str, size: int, amounts: Amounts) -> None:
        self.corpus = Corpus(size)
        self.texts = [f"text {number}" for number in range(size)]
        self.rewordings = [f"ask {number * 37 % size}" for number in range(min(size, REWORDINGS))]
        self.amounts = amounts
        self._module = module

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._enter(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _enter(self, stack: ExitStack) -> None:
        python = seed.environment()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(ValkeyServer(folder / "valkey", module=self._module))
        seed.write_texts(folder, self.corpus, [*self.texts, *self.rewordings])
        settings = Settings(threshold=0.5, url=server.url, engine="valkey-search")
        with seed.Child(python, server.url, folder) as child:
            child.tell("fill")  # both fill at once: the server inserts into both graphs on threads of its own
            shelf = Shelf(settings, self.corpus)
            shelf.grow(self.corpus.size)
            child.hear("filled")
        self.bare = Bare(server, shelf, self.corpus)
        stack.callback(self.bare.close)
        self.ours = stack.enter_context(Side("nearhit", Path(sys.executable), server.url, folder))
        self.theirs = stack.enter_context(Side("litellm", python, server.url, folder))

    def semantic(self, start: int, count: int) -> list[int]:
        """Return the numbers of so many rewordings."""
        size = len(self.texts)
        return [size + (start + number) % len(self.rewordings) for number in range(count)]

    def exact(self, start: int, count: int) -> list[int]:
        """Return the numbers of so many texts that are in the cache."""
        return [(start + number) * 37 % len(self.texts) for number in range(count)]

    def row(self, kind: str, at_once: int, *, fresh: bool = False, do: str = "awaited") -> Both:
        """Measure one row: both sides and the bare socket in turns; each turn asks them for different texts."""
        numbers, count, both = getattr(self, kind), self.amounts.count(at_once), Both()
        bare = 0.0
        for turn in range(self.amounts.rounds):
            start = turn * count
            for side, taken in ((self.ours, both.ours), (self.theirs, both.theirs))[:: -1 if turn % 2 else 1]:
                asked = numbers(start if side is self.ours else start + count // 2, count)
                taken.add(side.ask(do=do, at_once=at_once, asked=asked, fresh=fresh, busy=False))
            commands = [self.bare.command(self._text(number)) for number in numbers(start + count // 4, count)]
            bare += self.bare.seconds(commands, at_once)
        both.bare_rate = both.ours.count / bare
        return both

    def _text(self, number: int) -> str:
        return (self.texts + self.rewordings)[number] if number >= len(self.texts) else self.texts[number]


class Bare:
    """A socket that sends what lookups send, and looks at no more of a reply than where it ends.

    Args:
        server: where.
        shelf: whose entries are asked for.
        corpus: their vectors.
    """

    def __init__(self, server: ValkeyServer, shelf: Shelf, corpus: Corpus) -> None:
        self._shelf = shelf
        self._corpus = corpus
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._scope = scope_digest(Scope.of(None))

    def command(self, text: str) -> bytes:
        """Return the bytes that a lookup of a text sends: the search of a rewording, else the look by its key."""
        space = self._shelf.space
        if text.startswith("text "):
            return search_protocol.read_entry(space.keys.entry(self._scope, prompt_digest(text))).blob
        engine: Any = space.engine
        vector = vectors.to_bytes(self._corpus.embed([text], 1.0).vectors[0])
        return search_protocol.search(engine.index, self._scope, vector, 1, CANDIDATES).blob

    def seconds(self, commands: Sequence[bytes], at_once: int) -> float:
        """Return how long they all take with so many in flight at a time."""
        reader, done, sent = ReplyReader(), 0, 0
        started = time.perf_counter()
        while done < len(commands):
            upto = min(len(commands), done + at_once)
            if upto > sent:
                self._socket.sendall(b"".join(commands[sent:upto]))
                sent = upto
            reader.feed(self._socket.recv(256 * 1024))
            while reader.gets() is not NO_REPLY:
                done += 1
        return time.perf_counter() - started

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def lines(module: str, amounts: Amounts) -> Iterator[Line]:
    """Yield the lines of many lookups at a time, of one at a time as the cache grows, and of fills."""
    if not module:
        yield not_measured("many lookups at a time", "no search module was given", "≥ 2")
        return
    for size in sorted({amounts.size, *amounts.sizes}):
        with Bed(module, size, amounts) as bed:
            if size in amounts.sizes:
                yield _single_line(bed)
            if size == amounts.size:
                yield from _asyncio_lines(bed)
                yield from _thread_lines(bed)
                yield _busy_line(bed)
                yield _fill_line(bed)


def _single_line(bed: Bed) -> Line:
    both = bed.row("semantic", 1)
    name = f"asyncio, semantic hit, one at a time, {bed.corpus.size:,} entries: p50, {NAME} against it"
    return at_least(name, both.theirs.times.at(0.5) / both.ours.times.at(0.5), 1.2, note=both.note())


def _asyncio_lines(bed: Bed) -> Iterator[Line]:
    rows: dict[tuple[str, int], Both] = {}
    size, lost = bed.corpus.size, Counter[str]()
    for kind, what, fresh in (
        ("semantic", "semantic, vector known", False),
        ("semantic", "semantic, first sight", True),
        ("exact", "exact", False),
    ):
        for at_once in bed.amounts.at_once:
            both = rows[what, at_once] = bed.row(kind, at_once, fresh=fresh)
            lost.update(both.ours.said)
            goal = 4.0 if kind == "exact" else 1.3 if at_once == 1 else 2.0
            name = f"asyncio, {what}, {at_once:,} in flight, {size:,} entries: lookups a second against {NAME}"
            yield at_least(name, both.faster, goal, note=both.note())
    del lost["hit"]
    words = ", ".join(f"{name} {count:,}" for name, count in lost.items())
    yield at_most("asyncio: lookups that missed what is there", lost.total(), 0, "lookups", words)
    yield from _figures(bed, rows)


def _figures(bed: Bed, rows: dict[tuple[str, int], Both]) -> Iterator[Line]:
    what = "semantic, vector known"
    if {64, 256} <= set(bed.amounts.at_once):
        few, many = (rows[what, at_once].ours.times.at(0.99) for at_once in (64, 256))
        yield at_most(
            f"asyncio, {what}: p99 at 256 in flight against 64", many / few, 5, note=f"{_ms(many)}, {_ms(few)}"
        )
    at_once = max(one for one in bed.amounts.at_once if one <= 64)
    for kind in (what, "semantic, first sight", "exact"):
        both = rows[kind, at_once]
        ours, theirs = both.ours.cpu_us, both.theirs.cpu_us
        note = f"{ours:.0f} µs against {theirs:.0f} µs, user and system"
        yield at_most(f"asyncio, {kind}: CPU of the client a lookup against {NAME}", ours / theirs, 1, note=note)


def _thread_lines(bed: Bed) -> Iterator[Line]:
    for at_once in bed.amounts.threads:
        both = bed.row("semantic", at_once, do="threads")
        name = f"{at_once:,} threads, semantic, {bed.corpus.size:,} entries: lookups a second against {NAME}"
        yield at_least(name, both.faster, 1, note=both.note())


def _busy_line(bed: Bed) -> Line:
    at_once, each = bed.amounts.busy
    taken = Taken()
    asked = bed.semantic(0, at_once * each)
    taken.add(bed.ours.ask(do="awaited", at_once=at_once, asked=asked, fresh=False, busy=True))
    lost = taken.count - taken.said["hit"]
    note = f"of {taken.count:,}; p50 {_ms(taken.times.at(0.5))}, p99 {_ms(taken.times.at(0.99))} {taken.lost()}".strip()
    return at_most(f"{at_once} coroutines on a loop that is busy 10 ms in every 12: hits lost", lost, 0, "hits", note)


def _fill_line(bed: Bed) -> Line:
    taken = Taken()
    for _ in range(bed.amounts.rounds):
        taken.add(bed.ours.ask(do="fills", at_once=256, count=bed.amounts.fills, answer=ANSWER))
    note = f"{taken.cpu_us:.0f} µs of CPU each; other outcomes: {taken.lost('accepted') or 'none'}"
    return at_least("asyncio, 256 coroutines: fills accepted a second", taken.rate, 20_000, "fills/s", note)
