"""Recall: measures the HNSW index of a real server against brute force, and writes the table of docs/index.md.

Run it with ``NEARHIT_TEST_SEARCH_MODULE=…/libsearch.so python -m bench.recall``; 100,000 entries take some minutes for
each graph.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from nearhit_worker.stack import ValkeyServer

from bench.sentences import DIMENSION, Sentences
from nearhit.domain import entry
from nearhit.valkey import search_protocol

if TYPE_CHECKING:
    import redis
    from numpy.typing import NDArray

START, END = "<!-- bench.recall -->\n", "<!-- /bench.recall -->"
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "index.md"
PREFIX = "nearhit:bench:e:"
SCOPES = tuple(f"{number:032x}" for number in range(4))
LARGE, RARE = SCOPES[0], SCOPES[1]
GRAPHS = ((8, 100), (16, 200), (32, 200))
EF_RUNTIMES = (10, 20, 40, 100, 200)
TOPICS = 4_000
K = 1
BATCH = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions to one scope, and the similarity of the nearest entry of each by brute force."""

    scope: str
    questions: NDArray[np.float32]
    nearest: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Data:
    """Vectors, the scope of each, and questions to a scope that holds a third and to one that holds a hundredth."""

    vectors: NDArray[np.float32]
    scopes: list[str]
    large: Asked
    rare: Asked


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    m: int
    ef_construction: int
    ef_runtime: int
    recall: float
    rare_recall: float
    p50_ms: float
    p99_ms: float
    inserts_per_second: float
    bytes_per_entry: float


def make_data(entries: int, questions: int) -> Data:
    """Return the data of a run; the same numbers give the same data."""
    source = Sentences(TOPICS, seed=1)
    vectors = source.entries(entries)
    scopes = [_scope_of(at) for at in range(entries)]

    def ask_of(scope: str) -> Asked:
        held = vectors[[at for at, one in enumerate(scopes) if one == scope]]
        chosen = np.random.default_rng(2).choice(len(held), size=min(questions, len(held)), replace=False)
        asked = source.paraphrases(held[chosen])
        return Asked(scope, asked, (asked @ held.T).max(axis=1))

    return Data(vectors, scopes, ask_of(LARGE), ask_of(RARE))


def _scope_of(at: int) -> str:
    if at % 100 == 1:
        return RARE
    return LARGE if at % 3 == 0 else SCOPES[2 + at % 2]


def fill(client: redis.Redis, data: Data) -> float:
    """Write all entries and return how many a second went in."""
    started = time.monotonic()
    for start in range(0, len(data.vectors), BATCH):
        pipeline = client.pipeline(transaction=False)
        for at in range(start, min(start + BATCH, len(data.vectors))):
            scope = data.scopes[at]
            fields: dict[str | bytes, bytes | float | int | str] = {
                entry.SCOPE: scope,
                entry.EMBEDDING: data.vectors[at].tobytes(),
                entry.PROMPT: f"question {at}",
                entry.RESPONSE: f'"answer {at}"',
            }
            pipeline.hset(f"{PREFIX}{scope}:{at}", mapping=fields)  # type: ignore[arg-type]  # bytes are field names
        pipeline.execute()
    return len(data.vectors) / (time.monotonic() - started)


def ask(client: redis.Redis, asked: Asked, ef_runtime: int) -> tuple[float, NDArray[np.float64]]:
    """Return recall@1 and the seconds of each search."""
    hits = 0
    seconds = np.zeros(len(asked.questions))
    for at, question in enumerate(asked.questions):
        name, *words = search_protocol.search("bench", asked.scope, question.tobytes(), K, ef_runtime)
        started = time.perf_counter()
        reply = client.execute_command(str(name), *words)
        seconds[at] = time.perf_counter() - started
        found = search_protocol.parse_search(reply)
        # equal similarities may come in any order, so the similarity is compared and not the key
        hits += bool(found) and 1 - found[0].distance >= asked.nearest[at] - 1e-5
    return hits / len(asked.questions), seconds


def measure(module: str, data: Data, graph: tuple[int, int]) -> list[Row]:
    """Return the rows of a graph, measured on a private server."""
    m, ef_construction = graph
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder), module=module) as server:
        client = server.client()
        shape = search_protocol.Shape(PREFIX, DIMENSION)
        name, *arguments = search_protocol.create_index("bench", shape, search_protocol.Hnsw(m, ef_construction, 10))
        client.execute_command(str(name), *arguments)
        rate = fill(client, data)
        size = client.info("memory")["used_memory"] / len(data.vectors)
        rows = []
        for ef_runtime in EF_RUNTIMES:
            recall, seconds = ask(client, data.large, ef_runtime)
            rare, _ = ask(client, data.rare, ef_runtime)
            p50, p99 = (float(one) for one in np.percentile(seconds * 1000, (50, 99)))
            rows.append(Row(m, ef_construction, ef_runtime, recall, rare, p50, p99, rate, size))
            print(rows[-1], flush=True)
        client.close()
        return rows


def table(rows: list[Row], data: Data) -> str:
    """Return the Markdown of the measured rows."""
    chosen = search_protocol.Hnsw()
    lines = [
        f"{len(data.vectors):,} entries of {DIMENSION} dimensions; {len(data.large.questions):,} questions to a scope "
        f"that holds a third of them, {len(data.rare.questions):,} to one that holds a hundredth; KNN {K} with the "
        "fields of a lookup returned; one client, 2 cores.",
        "",
        "| M | EF_CONSTRUCTION | EF_RUNTIME | recall@1, a third | recall@1, a hundredth | p50 ms | p99 ms | inserts/s "
        "| KB an entry |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        default = (row.m, row.ef_construction, row.ef_runtime) == (chosen.m, chosen.ef_construction, chosen.ef_runtime)
        mark = " (default)" if default else ""
        lines.append(
            f"| {row.m} | {row.ef_construction} | {row.ef_runtime}{mark} | {row.recall:.3f} | {row.rare_recall:.3f} | "
            f"{row.p50_ms:.2f} | "
            f"{row.p99_ms:.2f} | {row.inserts_per_second:,.0f} | {row.bytes_per_entry / 1000:.2f} |"
        )
    return "\n".join(lines) + "\n"


def write(text: str) -> None:
    """Put the table between its marks in docs/index.md."""
    before, _, rest = DOCUMENT.read_text().partition(START)
    DOCUMENT.write_text(f"{before}{START}{text}{END}{rest.partition(END)[2]}")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=1_000)
    parser.add_argument("--print-only", action="store_true", help="leave docs/index.md alone")
    options = parser.parse_args()
    module = os.environ.get("NEARHIT_TEST_SEARCH_MODULE", "")
    if not module:
        parser.error("set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    data = make_data(options.entries, options.questions)
    text = table([row for graph in GRAPHS for row in measure(module, data, graph)], data)
    print(text)
    if not options.print_only:
        write(text)


if __name__ == "__main__":
    main()
