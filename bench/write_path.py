"""Measures the write path: what publishing costs, how many fills a second are stored, how long until one is found.

Run: python -m bench.write_path [publish] [throughput] [lag]; it writes its tables into docs/write-path.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.tables import markdown, put, where
from nearhit import Settings
from nearhit.domain.entry import prompt_digest
from nearhit.domain.hit_policy import Lifetimes
from nearhit.domain.question import read_question
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_for
from nearhit.write import fill_log
from nearhit.write.fill_encoding import encode_fill
from nearhit.write.wakeup import TASK_FILL, queue_name
from tests.chaos.stack import Stack, metric, wait_for
from tests.support.embedding_server import EmbeddingServer, reply_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit import SemanticCache
    from nearhit.flow.steps import Command

DOCUMENT = "write-path.md"
ANSWER = "An answer of a usual length. " * 20
NEVER_MS = 3_600_000


def main() -> int:
    """Measure what is asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["publish", "throughput", "lag"])
    for part in parser.parse_args().parts:
        text = {"publish": publish, "throughput": throughput, "lag": lag}[part]()
        print(text)
        put(DOCUMENT, part, text)
    return 0


# --- publish ---------------------------------------------------------------------------------------------------------


def publish(count: int = 1_000) -> str:
    """Return what it costs a caller to hand over one fill, by way."""
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder)) as stack:
        ways = _ways(stack)
        times: list[list[float]] = [[] for _ in ways]
        for number in range(count + 100):  # in turns, so that whatever else the machine does falls on all alike
            for (_, fills, _, call), taken in zip(ways, times, strict=True):
                started = time.perf_counter()
                call(number)
                taken.append((time.perf_counter() - started) / fills)
        rows = []
        for (name, _, note, _), taken in zip(ways, times, strict=True):
            warm = sorted(taken[100:])
            rows.append((name, *(f"{warm[int(count * share)] * 1e6:.0f}" for share in (0.5, 0.9)), note))
    head = ("way", "p50 µs a fill", "p90 µs", "")
    return markdown(head, rows) + f"\n\n{where()} One fill at a time, loopback, AOF everysec."


def _ways(stack: Stack) -> list[tuple[str, int, str, Callable[[int], object]]]:
    """Return name, fills at once, remark and the call of each way."""
    from celery import Celery  # noqa: PLC0415 - a bench of it
    from kombu import Connection, Exchange, Producer  # noqa: PLC0415 - the same

    url = stack.log_server.url.replace("valkey://", "redis://")
    app = Celery("bench", broker=url, set_as_current=False)
    queue = queue_name("chaos", "interactive")
    row = {"prompt": "a question of a usual length, asked by someone", "answer": ANSWER}
    producer = Producer(Connection(url).channel(), Exchange(queue), routing_key=queue, serializer="json")
    query: Any = read_question(row["prompt"], None)
    blob = encode_fill(Lifetimes(), query, ANSWER, {})
    keys, link = LogKeys("chaos"), link_for(stack.log_server.client())
    cache = stack.client(broker_url=url)
    cache.fill("first", ANSWER)

    def batched(_: int) -> None:  # 64 in one round trip, divided among them
        commands = [fill_log.append(keys, "bulk", blob, 1)[0] for _ in range(64)]
        link.send(commands, 5.0)

    return [
        (
            'Celery `send_task("nearhit.fill")`',
            1,
            "blocks for 20 s and more on a hung broker unless told not to",
            lambda _: app.send_task(TASK_FILL, args=(row,), queue=queue, retry=False, ignore_result=True),
        ),
        (
            'the same, `argsrepr="-"`',
            1,
            "without it the header repeats the prompt",
            lambda _: app.send_task(
                TASK_FILL, args=(row,), queue=queue, retry=False, ignore_result=True, argsrepr="-", kwargsrepr="-"
            ),
        ),
        ("raw kombu producer, JSON", 1, "no task protocol, no retry", lambda _: producer.publish(row)),
        (
            "XADD and the wake-up flag, one round trip",
            1,
            "what `fill` sends",
            lambda _: link.send(fill_log.append(keys, "bulk", blob, 1), 5.0),
        ),
        ("XADD of 64 in one round trip", 64, "a batch; what the spool sends, and threads that fill at once", batched),
        (
            "`cache.fill`",
            1,
            "whole: scope, canonical text, message, deadline, breaker, metrics, XADD",
            lambda number: cache.fill(f"question {number}", ANSWER, lane="bulk"),
        ),
    ]


# --- throughput ------------------------------------------------------------------------------------------------------


def throughput() -> str:
    """Return fills stored a second by one worker, by where the vector comes from and the size of batches."""
    carried = _stored_a_second(64, carried=True, fills=10_000)
    rows: list[tuple[object, ...]] = [("carried by its miss", 64, 4, *carried)]
    rows += [
        ("embedder of 50 ms a call, through LiteLLM", batch, threads, *_stored_a_second(batch, threads=threads))
        for threads in (1, 4)
        for batch in (1, 16, 64, 256)
    ]
    head = ("vector", "fills in a batch", "threads", "fills/s", "calls")
    return markdown(head, rows) + f"\n\n{where()} One worker process, one Valkey server beside it, local engine."


def _stored_a_second(batch: int, threads: int = 4, fills: int = 0, *, carried: bool = False) -> tuple[str, str]:
    fills = fills or min(5_000, 150 * batch)
    steady = reply_to({"input": ["x"], "model": "m"})[1]["data"][0]["embedding"]

    def slowly(asked: dict[str, Any]) -> Any:
        time.sleep(0.05)
        return reply_to(asked, [steady] * len(asked["input"]))

    with tempfile.TemporaryDirectory() as folder, EmbeddingServer() as endpoint:
        model = {"model": "hash/384"} if carried else {"model": "openai/stub"}
        with Stack(Path(folder), **model, batch_max_fills=batch, concurrency=threads) as stack:
            with stack.client() as cache:
                worker = _worker(stack, endpoint)
                cache.fill("first", ANSWER)
                wait_for(lambda: len(stack.entries()) == 1, 60, "the worker has loaded its embedder")
                endpoint.behave = slowly
                asked = len(endpoint.requests)
                before = metric(worker, "nearhit_upserts_total")
                _fill_all(cache, fills, carried=carried)
                started = time.monotonic()
                wait_for(lambda: metric(worker, "nearhit_upserts_total") - before >= fills, 300, "all are stored")
                seconds = time.monotonic() - started
            return f"{fills / seconds:,.0f}", "0" if carried else f"{len(endpoint.requests) - asked}"


def _worker(stack: Stack, endpoint: EmbeddingServer) -> Any:
    from nearhit_worker.stack import Worker  # noqa: PLC0415 - one use

    variables = {**stack.variables, "OPENAI_API_KEY": "sk-bench", "OPENAI_BASE_URL": endpoint.url}
    worker = Worker(stack.folder / "worker", {**variables, "OPENAI_API_BASE": endpoint.url})
    stack.workers.append(worker)
    return worker.start()


def _fill_all(cache: SemanticCache, fills: int, *, carried: bool) -> None:
    """Put fills into the log in one go, so that the worker's pace alone is measured."""
    settings = cache._components.settings  # noqa: SLF001 - the bench goes around the caller's side
    if carried:
        cache.warm_up()
    keys, link = LogKeys(settings.namespace), link_for(settings.log_server().client())
    blobs = []
    for number in range(fills):
        prompt = f"question {number}"
        asked: Any = cache.lookup(prompt) if carried else read_question(prompt, None)
        blobs.append(encode_fill(settings.lifetimes(), asked, ANSWER, {}))
    commands = [fill_log.append(keys, "interactive", blob, 1)[0] for blob in blobs]
    link.send(commands, 60.0)


# --- lag -------------------------------------------------------------------------------------------------------------


def lag(seconds: float = 20.0) -> str:
    """Return how long it takes from a fill until its entry is there, at 100 fills/s, alone and beside a bulk load."""
    rows = []
    for model, note in (("hash/384", "no model"), ("local/minilm", "in the worker's process")):
        with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), model=model, threshold=1.0) as stack:
            worker = stack.add_worker(concurrency=4)
            with stack.client() as cache:
                cache.warm_up()
                cache.fill("first", ANSWER)
                wait_for(lambda: len(stack.entries()) >= 1, 60, "the worker has loaded its embedder")
                alone = _lags(stack, cache, seconds, "alone")
                before = metric(worker, "nearhit_upserts_total")
                # a process of its own: in this one it would hold up the filler and the watch
                loader = multiprocessing.get_context("spawn").Process(
                    target=_load, args=(stack.variables,), daemon=True
                )
                loader.start()
                time.sleep(1.0)
                beside = _lags(stack, cache, seconds, "beside")
                bulk = (metric(worker, "nearhit_upserts_total") - before) / (seconds + 1)
                loader.kill()
                loader.join()
        ratio = beside[1] / alone[1]
        rows.append((f"{model} ({note})", "alone", *(f"{one * 1e3:.0f}" for one in alone), "", ""))
        rows.append(("", "bulk load", *(f"{one * 1e3:.0f}" for one in beside), f"{ratio:.1f}", f"{bulk:,.0f}"))
    head = ("embedder", "beside it", "p50 ms", "p99 ms", "p99 to alone", "all fills/s")
    note = "Each fill carries the vector of its miss; bulk fills carry none. Batches wait 20 ms for more."
    return markdown(head, rows) + f"\n\n{where()} {note}"


def _lags(stack: Stack, cache: SemanticCache, seconds: float, name: str) -> tuple[float, float]:
    """Fill at 100 a second, watch for each entry every 2 ms, and return p50 and p99 in seconds."""
    space = cache._readiness.space  # noqa: SLF001 - names of entries
    if space is None:
        raise RuntimeError("the cache is not open")
    waiting: dict[str, float] = {}
    lags: list[float] = []
    lock = threading.Lock()
    finished = threading.Event()

    def watch() -> None:
        with stack.cache_server.client() as client:
            while not (finished.is_set() and not waiting):
                with lock:
                    keys = list(waiting)
                found = [bool(client.exists(key)) for key in keys[:50]]
                now = time.monotonic()
                with lock:
                    for key, there in zip(keys, found, strict=False):
                        if there:
                            lags.append(now - waiting.pop(key))
                time.sleep(0.002)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.monotonic()
    for number in range(round(100 * seconds)):
        time.sleep(max(0.0, started + number / 100 - time.monotonic()))
        miss: Any = cache.lookup(f"{name} question {number}")
        key = space.keys.entry(miss.scope, prompt_digest(miss.prompt))
        with lock:
            waiting[key] = time.monotonic()
        cache.fill(miss, ANSWER)
    finished.set()
    watcher.join(30)
    return statistics.median(lags), sorted(lags)[int(0.99 * len(lags))]


def _load(variables: dict[str, str]) -> None:
    """Keep the bulk lane from ever becoming empty, until this process is killed."""
    settings = Settings.from_env(variables)
    keys, link = LogKeys(settings.namespace), link_for(settings.log_server().client())
    number = 0
    while True:
        depth = link.send((("XLEN", keys.log("bulk")),), 5.0)[0]
        if depth > 2_000:
            time.sleep(0.05)
            continue
        commands: list[Command] = []
        for _ in range(200):
            number += 1
            asked: Any = read_question(f"bulk text number {number} about one thing and another", None)
            commands.extend(fill_log.append(keys, "bulk", encode_fill(settings.lifetimes(), asked, ANSWER, {}), 1))
        link.send(commands, 5.0)


if __name__ == "__main__":
    raise SystemExit(main())
