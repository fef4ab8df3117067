"""Seed: lookups against LiteLLM's ValkeySemanticCache, on the same server with the same entries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.corpus import DIMENSION, Corpus
from bench.measure import Line, Times, against, at_least, not_measured
from bench.shelf import Shelf
from nearhit import Hit, SemanticCache, Settings, Tier, protocol
from worker.stack import ValkeyServer, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

ASKED = 200
THEIR_EF = 10
"""EF_RUNTIME of valkey-search where nobody says otherwise, as LiteLLM does not."""

THEIR_INDEX = "litellm_semantic_cache_index"
SAME_GRAPH = "same_graph"
NAME = "LiteLLM's ValkeySemanticCache.get_cache against lookup"
INSTALL_SECONDS = 400
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
        files = (folder / "texts", folder / "rows.npy")
        self._process = subprocess.Popen(
            [str(python), str(script), url.replace("valkey://", "redis://"), *files, parser],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )

    def __enter__(self) -> Self:
        self._hear("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, text: str, expected: str = "") -> str:
        """Return the answer to a line; raises when it is not ``expected``."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: it was opened as a pipe
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self._hear(expected)

    def _hear(self, expected: str) -> str:
        assert self._process.stdout is not None  # noqa: S101 - the same
        heard = self._process.stdout.readline().strip()
        if not heard or (expected and heard != expected):
            raise RuntimeError(f"LiteLLM's process said {heard!r}, expected {expected or 'an answer'!r}")
        return heard

    def seconds(self, numbers: list[int]) -> list[float]:
        """Return what a ``get_cache`` took for each text; raises when one was no hit."""
        took: list[float] = json.loads(self.ask(" ".join(map(str, numbers))))
        if min(took) < 0:
            raise RuntimeError(f"LiteLLM's cache missed text {numbers[took.index(min(took))]}")
        return took


def lines(module: str, size: int, calls: int) -> Iterator[Line]:
    """Yield the lines of the comparison; ``size`` entries, ``calls`` of each kind in turns."""
    if not module:
        yield not_measured(f"{NAME}: semantic hit", "no search module was given", "≥ 1.35")
        yield not_measured(f"{NAME}: exact hit", "no search module was given", "≥ 3")
        return
    python = environment()
    corpus = Corpus(size)
    texts = [f"text {number}" for number in range(size)] + [f"ask {number}" for number in range(min(ASKED, size))]
    with (
        tempfile.TemporaryDirectory() as path,
        ValkeyServer(Path(path) / "valkey", module=module) as server,
    ):
        folder = Path(path)
        (folder / "texts").write_text(json.dumps(texts))
        np.save(folder / "rows.npy", corpus.embed(texts, 1.0).vectors)
        same = {ef: _settings(server, f"ef{ef}", hnsw_ef_runtime=ef) for ef in (THEIR_EF, protocol.Hnsw().ef_runtime)}
        for settings in same.values():
            Shelf(settings, corpus).grow(size)
        with Child(python, server.url, folder) as child:
            child.ask("fill", "filled")
            yield from _pair(child, corpus, texts, calls, (same.pop(THEIR_EF), f"EF_RUNTIME {THEIR_EF} on both sides"))
            ((ef, ours),) = same.items()
            for line in _pair(child, corpus, texts, calls, (replace(ours, guard=True), "each as it ships")):
                note = f"{line.note}; ours with its guard and EF_RUNTIME {ef}, theirs with {THEIR_EF}"
                yield replace(line, goal="", met=None, note=note)
            _same_graph(server)
            child.ask(f"index {SAME_GRAPH}", "changed")
            yield from _pair(child, corpus, texts, calls, (ours, f"EF_RUNTIME {ef} on both sides"))
        with Child(python, server.url, folder, "hiredis") as child:
            child.ask(f"index {SAME_GRAPH}", "changed")
            for line in _pair(child, corpus, texts, calls, (ours, f"EF_RUNTIME {ef}, hiredis given to LiteLLM")):
                yield replace(line, goal="", met=None)


def _settings(server: ValkeyServer, namespace: str, **changes: Any) -> Settings:
    return Settings(
        threshold=0.5,
        url=server.url,
        namespace=namespace,
        engine="valkey-search",
        guard=False,
        deadline_ms=5_000,
        vector_cache_entries=2 * ASKED,
        **changes,
    )


def _pair(child: Child, corpus: Corpus, texts: list[str], calls: int, how: tuple[Settings, str]) -> Iterator[Line]:
    """Yield both lines of one comparison; ``how`` is our settings and what to call them."""
    size = corpus.size
    settings, text = how
    name = f"{NAME}, {size:,} entries, {text}"
    with SemanticCache(settings, embedder=corpus) as cache:
        cache.warm_up(60)
        cache.lookup_many(texts[size:])
        asked = [size + number % (len(texts) - size) for number in range(calls)]
        ours, theirs = _in_turns(child, cache, texts, asked, Tier.SEMANTIC)
        yield at_least(f"{name}: semantic hit, p50", theirs.p50_us / ours.p50_us, 1.35, note=against(ours, theirs))
        asked = [number * 37 % size for number in range(calls)]
        ours, theirs = _in_turns(child, cache, texts, asked, Tier.EXACT)
        yield at_least(f"{name}: exact hit, p50", theirs.p50_us / ours.p50_us, 3, note=against(ours, theirs))


def _in_turns(
    child: Child, cache: SemanticCache, texts: list[str], numbers: list[int], tier: Tier
) -> tuple[Times, Times]:
    """Return the times of ours and theirs, in turns of ``TURN`` calls; each turn asks both for different texts."""
    ours: list[float] = []
    theirs: list[float] = []
    half = len(numbers) // 2
    for start in range(0, len(numbers), TURN):
        mine = numbers[start : start + TURN]
        other = [numbers[(at + half) % len(numbers)] for at in range(start, start + len(mine))]
        if start // TURN % 2:
            theirs += child.seconds(other)
        ours += [_seconds(cache, texts[number], tier) for number in mine]
        if not start // TURN % 2:
            theirs += child.seconds(other)
    return Times(sorted(ours)), Times(sorted(theirs))


def _seconds(cache: SemanticCache, text: str, tier: Tier) -> float:
    question = [{"role": "user", "content": text}]
    started = time.perf_counter()
    found = cache.lookup(question)
    took = time.perf_counter() - started
    if not isinstance(found, Hit) or found.tier is not tier:
        raise RuntimeError(f"the lookup gave {found!r}, expected a hit of tier {tier}")
    return took


def _same_graph(server: ValkeyServer) -> None:
    """Make a second index over LiteLLM's entries, with the graph settings that ours has."""
    hnsw = protocol.Hnsw()
    with server.client() as client:
        client.execute_command(
            *("FT.CREATE", SAME_GRAPH, "ON", "HASH", "PREFIX", 1, f"{THEIR_INDEX}:", "SCHEMA"),
            *("litellm_cache_key", "TAG", "embedding", "VECTOR", "HNSW", 12, "TYPE", "FLOAT32", "DIM", DIMENSION),
            *("DISTANCE_METRIC", "COSINE", "M", hnsw.m, "EF_CONSTRUCTION", hnsw.ef_construction),
            *("EF_RUNTIME", hnsw.ef_runtime),
        )
        wait_until(
            lambda: not protocol.parse_info(client.execute_command("FT.INFO", SAME_GRAPH)).backfilling, 120, "backfill"
        )


def environment() -> Path:
    """Return the interpreter of a virtual environment with LiteLLM and the redis-py that its cache needs.

    It is made once, under the user's cache folder, of the LiteLLM version that is installed here.
    """
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
        command += [wanted, "redis[hiredis]<6", "numpy"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"LiteLLM cannot be installed: {done.stderr.strip().splitlines()[-1]}")
        ready.touch()
    return python
