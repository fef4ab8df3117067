"""Seed: lookups against LiteLLM's ValkeySemanticCache, on the same server with the same entries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import ValkeyServer, wait_until

from bench.corpus import DIMENSION, Corpus
from bench.measure import Line, Times, against, at_least, not_measured
from bench.shelf import Shelf
from nearhit import Hit, SemanticCache, Settings, Tier
from nearhit.domain import vectors
from nearhit.domain.scope import Scope, scope_digest
from nearhit.valkey import search_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

ASKED = 200
THEIR_EF = 10
"""EF_RUNTIME of valkey-search where nobody says otherwise, as LiteLLM does not: what the goals are held against. With
more, the server's own search, which is the same for both, is nearly all of what either takes."""

GRAPHS_UPTO = 10_000
"""Up to this size LiteLLM is also measured on a graph like ours, and with hiredis: a graph of 100,000 takes minutes."""

THEIR_INDEX = "litellm_semantic_cache_index"
SAME_GRAPH = "same_graph"
NAME = "LiteLLM's ValkeySemanticCache.get_cache against lookup"
INSTALL_SECONDS = 400
BACKFILL_SECONDS = 600
TURN = 25
"""Calls in a turn. Call by call, each would find the processor's caches full of the other process."""


class Child:
    """LiteLLM in its own interpreter.

    Args:
        python: its interpreter.
        url: of the server.
        folder: where texts and vectors are.
        parser: ``hiredis``, or nothing, as LiteLLM comes.
    """

    def __init__(self, python: Path, url: str, folder: Path, parser: str = "") -> None:
        script = Path(__file__).with_name("seed_child.py")
        files = (folder / "texts", folder / "rows")
        self._process = subprocess.Popen(
            [str(python), str(script), url.replace("valkey://", "redis://"), *files, parser],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )

    def __enter__(self) -> Self:
        self.hear("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, text: str, expected: str = "") -> str:
        """Return the answer to a line; raises when it is not ``expected``."""
        self.tell(text)
        return self.hear(expected)

    def tell(self, text: str) -> None:
        """Send a line; ``hear`` waits for its answer."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it was opened as a pipe
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def hear(self, expected: str = "") -> str:
        """Return the next answer; raises when it is not ``expected``."""
        assert self._process.stdout is not None  # noqa: S101 - the same
        heard = self._process.stdout.readline().strip()
        if not heard or (expected and heard != expected):
            raise RuntimeError(f"LiteLLM's process said {heard!r}, expected {expected or 'an answer'!r}")
        return heard

    def seconds(self, numbers: list[int]) -> list[float]:
        """Return what a ``get_cache`` took for each text; below zero where it did not give the text's answer."""
        took: list[float] = json.loads(self.ask(" ".join(map(str, numbers))))
        return took


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compare: our settings, what to call it, and whether the goals are held against it."""

    settings: Settings
    name: str
    promised: bool = True
    note: str = ""


class Both:
    """The times of both sides for the same texts."""

    def __init__(self) -> None:
        self.ours: list[tuple[int, float]] = []
        self.theirs: list[tuple[int, float]] = []
        self.bare: list[float] = []

    def times(self) -> tuple[Times, Times]:
        """Return ours and theirs over the texts that both answered every time."""
        lost = {number for number, took in self.ours + self.theirs if took < 0}
        if lost >= {number for number, _ in self.ours}:
            raise RuntimeError("no text was answered by both sides")
        ours, theirs = ([took for number, took in side if number not in lost] for side in (self.ours, self.theirs))
        return Times(sorted(ours)), Times(sorted(theirs))

    def missed(self) -> str:
        """Return how many calls of each side did not give the text's own answer, as a note."""
        ours, theirs = (sum(took < 0 for _, took in side) for side in (self.ours, self.theirs))
        count = len(self.ours)
        return f"not found: LiteLLM {theirs}, Nearhit {ours} of {count:,}" if ours or theirs else ""

    def shared(self) -> str:
        """Return what a bare search took meanwhile, as a note: the server's part is the same for both."""
        return f"a bare FT.SEARCH {Times(sorted(self.bare)).p50_us:.0f} µs" if self.bare else ""


def lines(module: str, sizes: tuple[int, ...], calls: int) -> Iterator[Line]:
    """Yield the lines of the comparison at each size, ``calls`` of each kind in turns."""
    if not module:
        yield not_measured(f"{NAME}: semantic hit", "no search module was given", "≥ 1.35")
        yield not_measured(f"{NAME}: exact hit", "no search module was given", "≥ 3")
        return
    python = environment()
    for size in sizes:
        yield from _at_size(python, module, Corpus(size), calls)


def _at_size(python: Path, module: str, corpus: Corpus, calls: int) -> Iterator[Line]:
    size = corpus.size
    texts = [f"text {number}" for number in range(size)]
    texts += [f"ask {number * 37 % size}" for number in range(min(ASKED, size))]
    with (
        tempfile.TemporaryDirectory() as path,
        ValkeyServer(Path(path) / "valkey", module=module) as server,
    ):
        folder = Path(path)
        write_texts(folder, corpus, texts)
        same, shipped = (_settings(server, ef) for ef in (THEIR_EF, search_protocol.Hnsw().ef_runtime))
        with Child(python, server.url, folder) as child:
            child.tell("fill")  # both fill at once: the server inserts into both graphs on threads of its own
            Shelf(same, corpus).grow(size)
            child.hear("filled")
            yield from _pair(child, corpus, texts, calls, Way(same, f"EF_RUNTIME {THEIR_EF} on both sides"))
            _graph_anew(server, shipped, corpus)
            yield from _shipped(child, corpus, texts, calls, shipped)
            if size <= GRAPHS_UPTO:
                _same_graph(server)
                child.ask(f"index {SAME_GRAPH}", "changed")
                note = "LiteLLM cannot ask for it"
                way = Way(shipped, f"EF_RUNTIME {shipped.hnsw_ef_runtime} on both sides", False, note)
                yield from _pair(child, corpus, texts, calls, way)
        if size <= GRAPHS_UPTO:
            yield from _with_hiredis(python, server, folder, (corpus, texts, calls, shipped))


def write_texts(folder: Path, corpus: Corpus, texts: list[str]) -> None:
    """Write texts and their vectors where a process of one side reads them."""
    (folder / "texts").write_text(json.dumps(texts))
    with (folder / "rows").open("wb") as rows:
        for at in range(0, len(texts), 1_000):
            rows.write(corpus.embed(texts[at : at + 1_000], 1.0).vectors.tobytes())


def _shipped(child: Child, corpus: Corpus, texts: list[str], calls: int, shipped: Settings) -> Iterator[Line]:
    note = f"ours with its guard and EF_RUNTIME {shipped.hnsw_ef_runtime}, theirs with {THEIR_EF}"
    yield from _pair(child, corpus, texts, calls, Way(replace(shipped, guard=True), "each as it ships", False, note))


def _with_hiredis(
    python: Path, server: ValkeyServer, folder: Path, what: tuple[Corpus, list[str], int, Settings]
) -> Iterator[Line]:
    corpus, texts, calls, settings = what
    name = f"EF_RUNTIME {settings.hnsw_ef_runtime} on both sides, hiredis given to LiteLLM"
    try:
        with Child(python, server.url, folder, "hiredis") as child:
            child.ask(f"index {SAME_GRAPH}", "changed")
            yield from _pair(child, corpus, texts, calls, Way(settings, name, promised=False))
    except RuntimeError as error:
        yield not_measured(f"{NAME}, {corpus.size:,} entries, {name}", str(error))


def _settings(server: ValkeyServer, ef_runtime: int) -> Settings:
    return Settings(
        threshold=0.5,
        url=server.url,
        engine="valkey-search",
        guard=False,
        deadline_ms=5_000,
        vector_cache_entries=2 * ASKED,
        hnsw_ef_runtime=ef_runtime,
    )


def _graph_anew(server: ValkeyServer, settings: Settings, corpus: Corpus) -> None:
    """Make the graph of our entries again, with the settings given: the entries stay."""
    shelf = Shelf(settings, corpus)
    engine: Any = shelf.space.engine
    with server.client() as client:
        client.execute_command("FT.DROPINDEX", engine.index)
        Shelf(settings, corpus)
        _wait_backfilled(client, engine.index)


def _pair(child: Child, corpus: Corpus, texts: list[str], calls: int, way: Way) -> Iterator[Line]:
    """Yield both lines of one comparison."""
    size = corpus.size
    name = f"{NAME}, {size:,} entries, {way.name}"
    with SemanticCache(way.settings, embedder=corpus) as cache, way.settings.server().client() as client:
        cache.warm_up(60)
        bare = _bare(client, way.settings, corpus)
        cache.lookup_many(texts[size:])
        asked = {
            Tier.SEMANTIC: [size + number % (len(texts) - size) for number in range(calls)],
            Tier.EXACT: [number % ASKED * 37 % size for number in range(calls)],
        }
        for tier, goal in ((Tier.SEMANTIC, 1.35), (Tier.EXACT, 3.0)):
            both = _in_turns(child, cache, bare, texts, asked[tier], tier)
            ours, theirs = both.times()
            note = "; ".join(filter(None, (against(ours, theirs), both.shared(), both.missed(), way.note)))
            line = at_least(f"{name}: {tier.value} hit, p50", theirs.p50_us / ours.p50_us, goal, note=note)
            yield line if way.promised else replace(line, goal="", met=None)


def _in_turns(
    child: Child, cache: SemanticCache, bare: Callable[[str], float], texts: list[str], numbers: list[int], tier: Tier
) -> Both:
    """Return the times of both, in turns of ``TURN`` calls; each turn asks both for different texts."""
    both = Both()
    half = len(numbers) // 2
    for start in range(0, len(numbers), TURN):
        mine = numbers[start : start + TURN]
        other = [numbers[(at + half) % len(numbers)] for at in range(start, start + len(mine))]
        if start // TURN % 2:
            both.theirs += zip(other, child.seconds(other), strict=True)
        both.ours += [(number, _seconds(cache, texts[number], tier)) for number in mine]
        if not start // TURN % 2:
            both.theirs += zip(other, child.seconds(other), strict=True)
        if tier is Tier.SEMANTIC:
            both.bare += [bare(texts[number]) for number in mine]
    return both


def _bare(client: Any, settings: Settings, corpus: Corpus) -> Callable[[str], float]:
    """Return a call that sends a lookup's FT.SEARCH and nothing else, and says what it took."""
    engine: Any = Shelf(settings, corpus).space.engine
    scope = scope_digest(Scope.of(None))

    def bare(text: str) -> float:
        vector = vectors.to_bytes(corpus.embed([text], 1.0).vectors[0])
        command = search_protocol.search(engine.index, scope, vector, 1)
        started = time.perf_counter()
        client.execute_command(*command)
        return time.perf_counter() - started

    return bare


def _seconds(cache: SemanticCache, text: str, tier: Tier) -> float:
    """Return what a lookup took; below zero where it did not give the text's own answer by that tier."""
    question = [{"role": "user", "content": text}]
    started = time.perf_counter()
    found = cache.lookup(question)
    took = time.perf_counter() - started
    own = isinstance(found, Hit) and found.tier is tier and str(found.answer).startswith(text.partition(" ")[2] + ": ")
    return took if own else -1.0


def _same_graph(server: ValkeyServer) -> None:
    """Make a second index over LiteLLM's entries, with the graph settings that ours has."""
    hnsw = search_protocol.Hnsw()
    with server.client() as client:
        client.execute_command(
            *("FT.CREATE", SAME_GRAPH, "ON", "HASH", "PREFIX", 1, f"{THEIR_INDEX}:", "SCHEMA"),
            *("litellm_cache_key", "TAG", "embedding", "VECTOR", "HNSW", 12, "TYPE", "FLOAT32", "DIM", DIMENSION),
            *("DISTANCE_METRIC", "COSINE", "M", hnsw.m, "EF_CONSTRUCTION", hnsw.ef_construction),
            *("EF_RUNTIME", hnsw.ef_runtime),
        )
        _wait_backfilled(client, SAME_GRAPH)


def _wait_backfilled(client: Any, index: str) -> None:
    wait_until(
        lambda: not search_protocol.parse_info(client.execute_command("FT.INFO", index)).backfilling,
        BACKFILL_SECONDS,
        f"index {index} is made",
    )


def environment() -> Path:
    """Return the interpreter of a virtual environment with LiteLLM and the redis-py that its cache needs.

    It is that of NEARHIT_TEST_LITELLM_SEED_PYTHON, or one made once, under the user's cache folder, of the LiteLLM
    version that is installed here.
    """
    named = os.environ.get("NEARHIT_TEST_LITELLM_SEED_PYTHON", "")
    if named:
        return Path(named)
    try:
        wanted = f"litellm=={version('litellm')}"
    except PackageNotFoundError:
        wanted = "litellm"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "nearhit" / f"bench-{wanted.replace('==', '-')}-{sys.version_info.major}.{sys.version_info.minor}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        venv.create(folder, clear=True, with_pip=True)
        command: list[Any] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += [wanted, "redis[hiredis]<6"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"LiteLLM cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        ready.touch()
    return python
