"""The write path against real servers and a real endpoint: retries, dead letters, order, the caller's side."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from nearhit import AsyncSemanticCache, FillOutcome, Hit, Metrics, SemanticCache, dead, filllog
from nearhit.embedding.resolve import embedder_for
from nearhit.entry import Entry, prompt_digest
from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.flow import ReplyError, Send
from nearhit.keys import CacheKeys, LogKeys, lease
from nearhit.link import link_for
from nearhit.testing import HashEmbedder
from nearhit.upsert import WRITE_SECONDS, Stored, upsert
from nearhit.vectors import to_bytes
from tests.embedding_server import EmbeddingServer, refusal, reply_to
from worker.app import Process
from worker.runtime import Runtime
from worker.stack import ValkeyServer, wait_until
from worker.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from nearhit.embedding.port import Embeddings
    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")

DIMENSION = 32


@pytest.fixture
def server(plain_server: ValkeyServer) -> ValkeyServer:
    """The write path is the same for both engines; the plain server is the quicker one."""
    return plain_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that may be stopped."""
    with ValkeyServer(tmp_path / "own") as one:
        yield one
        if one.child is not None and one.child.running:
            os.kill(one.child.process.pid, signal.SIGCONT)


@pytest.fixture
def endpoint() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as one:
        yield one


@pytest.fixture
def remote(settings: Callable[..., Settings], endpoint: EmbeddingServer) -> Callable[..., Runtime]:
    """A worker's runtime whose embedder is the endpoint, through LiteLLM."""

    def make(**changes: Any) -> Runtime:
        model = "openai/stub"
        made = settings(model=model, **{"retry_ceiling_seconds": 0.2, "embed_timeout_ms": 2_000, **changes})
        embedder = embedder_for(model, api_base=endpoint.url, api_key="sk-secret")
        return Runtime(made, Metrics(namespace=made.namespace), embedder)

    return make


def hashed(made: Settings, **changes: Any) -> Runtime:
    """Return a worker's runtime with the hash embedder."""
    return Runtime(made, Metrics(namespace=made.namespace), **changes)


def run(link_server: ValkeyServer, flow: Any) -> Any:
    """Drive a flow that sends only."""
    link = link_for(link_server.client())
    answer: Any = None
    try:
        while True:
            try:
                step = flow.send(answer)
            except StopIteration as stop:
                return stop.value
            assert isinstance(step, Send)
            answer = link.send(step.commands, 5.0)
    finally:
        link.close()


def letters(server: ValkeyServer, namespace: str) -> list[dead.Letter]:
    found: list[dead.Letter] = run(server, dead.letters(LogKeys(namespace)))
    return found


def drained(runtime: Runtime, server: ValkeyServer, seconds: float = 20.0, lane: str = "interactive") -> None:
    """Tick until nothing is left, as a worker does."""
    keys = runtime.keys

    def empty() -> bool:
        runtime.tick(lane)
        with server.client() as client:
            return int(client.xlen(keys.log(lane)) + client.zcard(keys.retry(lane))) == 0

    wait_until(empty, seconds, "the log is empty")


def prompts_in(server: ValkeyServer, namespace: str) -> dict[str, str]:
    with server.client() as client:
        rows = [client.hgetall(name) for name in client.scan_iter(f"nearhit:{namespace}:*:e:*")]
    return {row[b"prompt"].decode(): json.loads(row[b"response"]) for row in rows}


def texts_asked(endpoint: EmbeddingServer) -> list[list[str]]:
    """Return the calls that embedded questions; the probe of the embedder is not one."""
    return [one["input"] for one in endpoint.requests if any("question" in text for text in one["input"])]


# --- batches ---------------------------------------------------------------------------------------------------------


def test_a_text_that_many_fills_share_is_embedded_once_and_one_that_was_seen_never(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote()
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        for number in range(20):
            cache.fill(f"question {number % 4}", f"answer {number}")
        drained(runtime, server)
        cache.fill("question 1", "answer 20")
        drained(runtime, server)
    assert sorted(map(sorted, texts_asked(endpoint))) == [[f"question {n}" for n in range(4)]]
    assert prompts_in(server, runtime.settings.namespace)["question 1"] == "answer 20"


def test_a_fill_that_carries_the_vector_of_its_miss_needs_no_call(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    runtime = hashed(made)
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        miss = cache.lookup("a question")
        assert not miss
        cache.fill(miss, "an answer")
        drained(runtime, server)
    calls = runtime.metrics.registry.get_sample_value(
        "nearhit_embed_texts_total", {"namespace": made.namespace, "side": "write"}
    )
    assert prompts_in(server, made.namespace) == {"a question": "an answer"}
    assert (calls or 0) <= 1  # the probe of the embedder, where nobody had registered it


# --- retries and dead letters ----------------------------------------------------------------------------------------


def test_a_refused_text_becomes_a_dead_letter_and_its_neighbours_are_stored(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote()
    endpoint.behave = lambda asked: (
        refusal(400)(asked) if any("bad" in text for text in asked["input"]) else reply_to(asked)
    )
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        for number in range(8):
            cache.fill(f"{'bad' if number == 5 else 'good'} question {number}", "an answer")
        drained(runtime, server)
    assert len(prompts_in(server, runtime.settings.namespace)) == 7
    [letter] = letters(server, runtime.settings.namespace)
    assert letter.reason == "embedder_refused"
    assert letter.fill is not None
    assert letter.fill.prompt == "bad question 5"


def test_a_text_that_breaks_the_endpoint_each_time_holds_up_no_neighbour(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote(max_tries=6)
    endpoint.behave = lambda asked: (
        refusal(500)(asked) if any("bad" in text for text in asked["input"]) else reply_to(asked)
    )
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        for number in range(8):
            cache.fill(f"{'bad' if number == 5 else 'good'} question {number}", "an answer")
        drained(runtime, server, 30)
    assert len(prompts_in(server, runtime.settings.namespace)) == 7
    [letter] = letters(server, runtime.settings.namespace)
    assert (letter.reason, letter.tries) == ("retries_exhausted", 5)


@pytest.mark.parametrize("status", [429, 500, 503, 401])
def test_an_endpoint_that_fails_for_a_while_costs_no_fill(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer, status: int
) -> None:
    runtime = remote()
    runtime.space()
    endpoint.behave = refusal(status)
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        cache.fill("a question", "an answer")
        runtime.tick("interactive")
        with server.client() as client:
            assert client.zcard(runtime.keys.retry("interactive")) == 1
        endpoint.behave = reply_to
        drained(runtime, server)
    assert prompts_in(server, runtime.settings.namespace) == {"a question": "an answer"}
    assert letters(server, runtime.settings.namespace) == []


def test_a_retry_after_is_waited_for(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote(retry_ceiling_seconds=0.5)
    runtime.space()
    endpoint.behave = refusal(429, {"retry-after": "2"})
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        started = time.monotonic()
        cache.fill("a question", "an answer")
        runtime.tick("interactive")
        endpoint.behave = reply_to
        drained(runtime, server)
    assert 1.9 < time.monotonic() - started < 10


def test_a_dead_endpoint_is_given_up_after_its_time_limit_and_the_fill_waits(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote(embed_timeout_ms=300)
    runtime.space()
    endpoint.behave = endpoint.hang
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        cache.fill("a question", "an answer")
        started = time.monotonic()
        runtime.tick("interactive")
        assert time.monotonic() - started < 5
        endpoint.reset()
        drained(runtime, server)
    assert prompts_in(server, runtime.settings.namespace) == {"a question": "an answer"}


def test_what_can_never_be_stored_is_a_dead_letter_at_once(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    runtime = hashed(made)
    runtime.space()
    good = {"v": 1, "s": "0" * 32, "t": "", "p": "p", "r": b'"a"', "c": time.time_ns() // 1000, "l": 60_000}
    good |= {"f": 60_000, "e": runtime.space().keys.embedder, "x": b"", "u": None, "a": b""}
    blobs = {
        "undecodable": [b"\xc1 no msgpack", b"", msgpack.packb({**good, "v": 2}), msgpack.packb({**good, "p": 7})],
        "bad_vector": [msgpack.packb({**good, "x": b"\0" * 4 * 63}), msgpack.packb({**good, "x": b"\0" * 4 * 64})],
        "expired": [msgpack.packb({**good, "c": 1, "l": 1})],
    }
    every = [blob for some in blobs.values() for blob in some] + [msgpack.packb(good)]
    run(server, filllog.accept(runtime.keys, "interactive", every, 1))
    runtime.tick("interactive")
    reasons = [letter.reason for letter in letters(server, made.namespace)]
    assert sorted(reasons) == sorted(reason for reason, some in blobs.items() for _ in some)
    assert prompts_in(server, made.namespace) == {"p": "a"}


def test_dead_letters_are_replayed_once_or_dropped(settings: Callable[..., Settings], server: ValkeyServer) -> None:
    made = settings()
    runtime = hashed(made)
    runtime.space()
    with SemanticCache(made) as cache:
        cache.fill("a question", "an answer")
    flow = filllog.read(runtime.keys, "interactive", "one", 10, last=True)
    [row] = run(server, flow)
    run(server, filllog.bury(runtime.keys, "interactive", row, "store", "for the test"))
    run(server, filllog.take_in(runtime.keys, [], [(b"garbage", "bad_row", "no row")], 1))
    found = letters(server, made.namespace)
    assert [one.replayable for one in found] == [True, False]
    assert run(server, dead.replay(runtime.keys, found)) == 1
    assert run(server, dead.replay(runtime.keys, found)) == 0
    drained(runtime, server)
    assert prompts_in(server, made.namespace) == {"a question": "an answer"}
    [left] = letters(server, made.namespace)
    assert run(server, dead.drop(runtime.keys, [left.id])) == 1
    with pytest.raises(ConfigError, match="no id"):
        run(server, dead.drop(runtime.keys, ["-"]))


def test_neighbours_of_a_fill_that_kills_workers_are_stored_and_it_alone_is_buried(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings(claim_idle_ms=100, max_deliveries=3)

    class Fatal(BaseException):
        """A worker that dies: nothing catches it."""

    class Deadly(HashEmbedder):
        def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
            if "deadly" in texts:
                raise Fatal
            return super().embed(texts, timeout_seconds)

    with SemanticCache(made) as cache:
        for number in range(6):
            cache.fill("deadly" if number == 2 else f"question {number}", "an answer")
    for _ in range(12):
        runtime = hashed(made, embedder=Deadly(64))
        try:
            drained(runtime, server)
            break
        except Fatal:
            time.sleep(0.12)
    assert len(prompts_in(server, made.namespace)) == 5
    [letter] = letters(server, made.namespace)
    assert (letter.reason, letter.fill and letter.fill.prompt) == ("poison", "deadly")


def test_an_error_inside_a_transaction_is_no_acceptance(server: ValkeyServer, namespace: str) -> None:
    keys = LogKeys(namespace)
    with server.client() as client:
        client.set(keys.log("interactive"), "no stream")
    with pytest.raises(StoreUnavailableError, match=r"WRONGTYPE|wrong kind"):
        run(server, filllog.accept(keys, "interactive", [b"one"], 1))


def test_a_worker_that_was_taken_over_from_moves_nothing_any_more(server: ValkeyServer, namespace: str) -> None:
    keys = LogKeys(namespace)
    run(server, filllog.open_log(keys, "interactive"))
    run(server, filllog.accept(keys, "interactive", [b"one\0\xff|2|"], 5))
    [row] = run(server, filllog.read(keys, "interactive", "stopped", 10, last=True))
    [silent] = run(server, filllog.silent(keys, "interactive", 0, 10))
    [taken] = run(server, filllog.claim(keys, "interactive", "second", 0, [silent]))
    assert taken.deliveries == 2
    assert run(server, filllog.bury(keys, "interactive", row, "poison", "")) == 0
    assert run(server, filllog.put_off(keys, "interactive", [(row, 1, 1)])) == 0
    assert run(server, filllog.keep(keys, "interactive", "stopped", [row])) == 0
    assert run(server, filllog.keep(keys, "interactive", "second", [taken])) == 1
    assert run(server, filllog.put_off(keys, "interactive", [(taken, 1, 7)])) == 1
    assert run(server, filllog.promote(keys, "interactive", 2, 10)) == 1
    [again] = run(server, filllog.read(keys, "interactive", "third", 10, last=True))
    assert (again.blob, again.tries, again.queued_ms) == (b"one\0\xff|2|", 7, 5)


# --- order -----------------------------------------------------------------------------------------------------------

EMBEDDER = "e" * 16


def an_entry(created_us: int, answer: str) -> Entry:
    now_ms = time.time_ns() // 1_000_000
    return Entry(
        scope="0" * 32,
        tenant="",
        prompt="a question",
        response=json.dumps(answer).encode(),
        embedding=to_bytes(HashEmbedder(64).embed(["a question"], 1).vectors[0]),
        embedder=EMBEDDER,
        created_us=created_us,
        fresh_until_ms=now_ms + 60_000,
        expires_ms=now_ms + 60_000,
    )


def stored_answer(server: ValkeyServer, keys: CacheKeys) -> Any:
    with server.client() as client:
        return json.loads(client.hget(keys.entry("0" * 32, prompt_digest("a question")), "response") or b"null")


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
def test_the_newest_answer_stays_in_whatever_order_they_come(
    server: ValkeyServer, namespace: str, order: tuple[int, ...]
) -> None:
    keys = CacheKeys(namespace, EMBEDDER)
    for created in order:
        run(server, upsert([an_entry(created, f"answer {created}")], keys))
    run(server, upsert([an_entry(n, f"answer {n}") for n in order], keys))
    assert stored_answer(server, keys) == "answer 3"


def test_a_writer_that_was_stopped_beyond_its_lease_writes_nothing_over_a_newer_answer(
    server: ValkeyServer, namespace: str
) -> None:
    keys = CacheKeys(namespace, EMBEDDER)
    now = 0.0
    link = link_for(server.client())
    stopped = upsert([an_entry(1, "older")], keys, clock=lambda: now)
    replies = link.send(next(stopped).commands, 5.0)  # type: ignore[union-attr]  # it holds the lease now, and stops
    assert run(server, upsert([an_entry(2, "newer")], keys)) == [Stored.BUSY]
    with server.client() as client:  # the lease runs out
        client.delete(lease(keys.entry("0" * 32, prompt_digest("a question"))))
    assert run(server, upsert([an_entry(2, "newer")], keys)) == [Stored.STORED]
    third = upsert([an_entry(3, "newest")], keys)
    third_replies = link.send(next(third).commands, 5.0)  # type: ignore[union-attr]  # a third one has the lease
    now = WRITE_SECONDS + 1
    step = stopped.send(replies)
    assert not any(command[0] == "HSET" for command in step.commands)  # type: ignore[union-attr]
    replies = link.send(step.commands, 5.0)  # type: ignore[union-attr]
    with pytest.raises(StopIteration) as end:
        stopped.send(replies)
    assert end.value.value == [Stored.BUSY]
    assert stored_answer(server, keys) == "newer"
    assert run(server, upsert([an_entry(4, "later")], keys)) == [Stored.BUSY]  # the third one's lease is untouched
    link.send(third.send(third_replies).commands, 5.0)  # type: ignore[union-attr]
    assert stored_answer(server, keys) == "newest"
    link.close()


# --- the caller's side -----------------------------------------------------------------------------------------------


def stop(server: ValkeyServer, number: int) -> None:
    assert server.child is not None
    os.kill(server.child.process.pid, number)


def connect(cache: SemanticCache) -> None:
    """Return once fills go through; on a busy machine the first connection may take longer than the deadline."""
    accepted = FillOutcome.ACCEPTED
    wait_until(lambda: cache.fill("first", "answer") is accepted, 10, "the cache is connected to the log")


@pytest.mark.parametrize("warm", [True, False])
def test_a_log_server_that_hangs_holds_no_caller_beyond_its_deadline(
    settings: Callable[..., Settings], own_server: ValkeyServer, warm: bool
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=50, connect_timeout_ms=3_000)
    with SemanticCache(made) as cache:
        if warm:
            connect(cache)
        stop(own_server, signal.SIGSTOP)
        times, outcomes = [], []
        for number in range(30):
            started = time.monotonic()
            outcomes.append(cache.fill(f"question {number}", "answer"))
            times.append(time.monotonic() - started)
        stop(own_server, signal.SIGCONT)
        assert set(outcomes) == {FillOutcome.SPOOLED}
        assert max(times) < 0.5  # 50 ms, and what a busy machine adds; a connect would take 3 s
        assert sum(times) < 1.0  # after three failures the breaker is open, and a fill waits for nothing
        assert cache._publisher.flush(15)  # noqa: SLF001 - no public need
        with own_server.client() as client:
            assert client.xlen(LogKeys(made.namespace).log("interactive")) >= 30 + warm


def test_threads_that_hang_on_a_log_server_together_all_keep_their_deadline(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=50, connect_timeout_ms=3_000)
    with SemanticCache(made) as cache:
        connect(cache)
        stop(own_server, signal.SIGSTOP)
        times: list[float] = []

        def fill() -> None:
            started = time.monotonic()
            cache.fill("question", "answer")
            times.append(time.monotonic() - started)

        threads = [threading.Thread(target=fill) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop(own_server, signal.SIGCONT)
        assert len(times) == 20
        assert max(times) < 0.5


def test_the_asyncio_twin_blocks_its_loop_for_no_server(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=50, connect_timeout_ms=3_000)

    async def fill_all() -> tuple[list[float], float, set[FillOutcome]]:
        gaps: list[float] = []

        async def beat() -> None:
            last = time.monotonic()
            while True:
                await asyncio.sleep(0.005)
                gaps.append(time.monotonic() - last)
                last = time.monotonic()

        async with AsyncSemanticCache(made) as cache:
            for _ in range(200):
                if await cache.fill("first", "answer") is FillOutcome.ACCEPTED:
                    break
                await asyncio.sleep(0.01)
            stop(own_server, signal.SIGSTOP)
            beating = asyncio.create_task(beat())
            started = time.monotonic()
            outcomes = {await cache.fill(f"question {number}", "answer") for number in range(30)}
            seconds = time.monotonic() - started
            beating.cancel()
            stop(own_server, signal.SIGCONT)
            assert await asyncio.to_thread(cache._publisher.flush, 15)  # noqa: SLF001 - no public need
            return gaps, seconds, outcomes

    gaps, seconds, outcomes = asyncio.run(fill_all())
    assert outcomes == {FillOutcome.SPOOLED}
    assert seconds < 2.0
    assert max(gaps) < 0.5  # the loop never stood still


def test_the_spool_keeps_the_newest_and_counts_what_it_drops(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, enqueue_deadline_ms=20, spool_max_fills=10)
    own_server.stop()
    with SemanticCache(made) as cache:
        for number in range(25):
            cache.fill(f"question {number}", "answer")
        dropped = cache.metrics.registry.get_sample_value(
            "nearhit_fills_total", {"namespace": made.namespace, "outcome": "dropped"}
        )
        own_server.start()
        assert cache._publisher.flush(15)  # noqa: SLF001 - no public need
        runtime = hashed(made)
        drained(runtime, own_server)
        with own_server.client() as client:
            assert client.xlen(LogKeys(made.namespace).log("interactive")) == 0
    kept = {f"question {number}" for number in range(15, 25)}
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        assert {f"question {n}" for n in range(25) if cache.lookup(f"question {n}")} == kept
    assert dropped == 15


def test_a_forked_child_fills_and_sends_nothing_of_its_parent_twice(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    with SemanticCache(made) as cache:
        assert cache.fill("of the parent", "answer") is FillOutcome.ACCEPTED
        pid = os.fork()
        if pid == 0:
            outcome = cache.fill("of the child", "answer")
            os._exit(0 if outcome is FillOutcome.ACCEPTED else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert cache.fill("of the parent, later", "answer") is FillOutcome.ACCEPTED
    with server.client() as client:
        assert client.xlen(LogKeys(made.namespace).log("interactive")) == 3


def test_a_full_log_server_costs_no_fill(settings: Callable[..., Settings], own_server: ValkeyServer) -> None:
    made = settings(log_url=own_server.url)
    with SemanticCache(made) as cache, own_server.client() as client:
        assert cache.fill("first", "answer") is FillOutcome.ACCEPTED
        client.config_set("maxmemory", 1)
        assert cache.fill("second", "answer") is FillOutcome.SPOOLED
        client.config_set("maxmemory", 0)
        assert cache._publisher.flush(10)  # noqa: SLF001 - no public need
        drained(hashed(made), own_server)
        assert cache.warm_up()
        assert cache.lookup("second")


def test_a_worker_at_a_full_log_server_keeps_its_fills(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(log_url=own_server.url, claim_idle_ms=100)
    keys = LogKeys(made.namespace)
    with own_server.client() as client:
        run(own_server, filllog.open_log(keys, "interactive"))
        run(own_server, filllog.accept(keys, "interactive", [b"garbage"], 1))
        client.config_set("maxmemory", 1)
        runtime = hashed(made)
        with pytest.raises(StoreUnavailableError, match=r"OOM|OutOfMemory|maxmemory"):
            runtime.drain("interactive")
        client.config_set("maxmemory", 0)
        time.sleep(0.12)
        drained(runtime, own_server)
        assert client.xlen(keys.dead) == 1


# --- health ----------------------------------------------------------------------------------------------------------


def test_a_worker_whose_work_hangs_is_not_live(settings: Callable[..., Settings], server: ValkeyServer) -> None:
    made = settings(poll_seconds=0.05)
    released = threading.Event()

    class Hanging(HashEmbedder):
        def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
            if "hang" in texts:
                released.wait(20)
            return super().embed(texts, timeout_seconds)

    runtime = hashed(made, embedder=Hanging(64), patience_seconds=0.5)
    process = Process(made)
    process._runtime._values[os.getpid()] = runtime  # noqa: SLF001 - the runtime of a process is made by itself
    ticker = Ticker(runtime, Ticker.working(runtime))
    process._ticker = ticker  # noqa: SLF001 - started without the endpoint
    ticker.start()
    try:
        wait_until(lambda: process.health()["ready"], 10, "the worker is ready")
        with SemanticCache(made) as cache:
            cache.fill("hang", "answer")
        wait_until(lambda: not process.health()["live"], 10, "the stuck worker says so")
        released.set()
        wait_until(lambda: process.health()["live"], 10, "the worker is live again")
    finally:
        released.set()
        ticker.stop()
        runtime.close()


def test_a_worker_that_waits_for_a_dead_server_is_live_and_not_ready(
    settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    made = settings(url=own_server.url, poll_seconds=0.05)
    own_server.stop()
    runtime = hashed(made, patience_seconds=0.5)
    process = Process(made)
    process._runtime._values[os.getpid()] = runtime  # noqa: SLF001 - the runtime of a process is made by itself
    ticker = Ticker(runtime, Ticker.working(runtime))
    process._ticker = ticker  # noqa: SLF001 - started without the endpoint
    ticker.start()
    try:
        wait_until(lambda: bool(runtime.last_error), 10, "the outage is noticed")
        time.sleep(1.0)
        state = process.health()
        assert state["live"]
        assert not state["ready"]
        own_server.start()
        wait_until(lambda: process.health()["ready"], 10, "the worker is ready again")
    finally:
        ticker.stop()
        runtime.close()


# --- freshness -------------------------------------------------------------------------------------------------------


def completion(text: str) -> Callable[[dict[str, Any]], tuple[int, Any, dict[str, str]]]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "usage": usage}
    return lambda _: (200, {**body, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}, {})


def test_a_stale_hit_is_served_and_its_model_asked_again_once(
    settings: Callable[..., Settings], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    made = settings(ttl_seconds=60, fresh_seconds=0.05)
    runtime = hashed(made)
    recipe = {
        "model": "openai/stub",
        "messages": [{"role": "user", "content": "a question"}],
        "api_base": endpoint.url,
        "api_key": "sk-secret",
    }
    endpoint.behave = completion("the newer answer")
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        cache.fill("a question", "the older answer", refresh=recipe)
        cache.fill("another question", "an answer without a recipe")
        drained(runtime, server)
        time.sleep(0.1)
        for _ in range(50):
            hit = cache.lookup("a question")
            assert isinstance(hit, Hit)
            assert (hit.answer, hit.fresh, hit.refreshable) == ("the older answer", False, True)
        plain = cache.lookup("another question")
        assert isinstance(plain, Hit)
        assert (plain.fresh, plain.refreshable) == (False, False)
        with server.client() as client:
            wait_until(lambda: client.xlen(runtime.keys.log("refresh")) == 1, 5, "one refresh is queued")
        drained(runtime, server, lane="refresh")
        again = cache.lookup("a question")
        assert isinstance(again, Hit)
        assert again.answer == "the newer answer"
        assert again.usage is not None
        assert again.usage.completion_tokens == 2
    assert len(endpoint.requests) == 1
    assert letters(server, made.namespace) == []


@pytest.mark.parametrize(("status", "left"), [(500, "retry"), (400, "dead")])
def test_a_model_that_fails_leaves_the_stale_answer_where_it_is(
    settings: Callable[..., Settings], server: ValkeyServer, endpoint: EmbeddingServer, status: int, left: str
) -> None:
    made = settings(ttl_seconds=60, fresh_seconds=0.05)
    runtime = hashed(made)
    endpoint.behave = refusal(status)
    recipe = {"model": "openai/stub", "messages": [{"role": "user", "content": "q"}], "api_base": endpoint.url}
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        cache.fill("a question", "an answer", refresh={**recipe, "api_key": "k"})
        drained(runtime, server)
        time.sleep(0.1)
        assert cache.lookup("a question")
        with server.client() as client:
            wait_until(lambda: client.xlen(runtime.keys.log("refresh")) == 1, 5, "one refresh is queued")
            runtime.tick("refresh")
            assert client.zcard(runtime.keys.retry("refresh")) == (left == "retry")
            assert client.xlen(runtime.keys.dead) == (left == "dead")
        assert cache.lookup("a question")


# --- single flight ---------------------------------------------------------------------------------------------------


def test_of_many_that_miss_the_same_question_at_once_one_asks_the_model(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    asked: list[int] = []

    def create() -> dict[str, int]:
        asked.append(1)
        time.sleep(0.3)
        return {"answer": 42}

    answers: list[Any] = []
    caches = [SemanticCache(made) for _ in range(3)]
    for cache in caches:
        assert cache.warm_up()
    threads = [
        threading.Thread(target=lambda c=cache: answers.append(c.get_or_create("a question", create)))
        for cache in caches * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for cache in caches:
        cache.close()
    assert answers == [{"answer": 42}] * 12
    assert len(asked) == 1


def test_the_asyncio_twin_asks_once_too_and_a_failure_releases_the_others(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    asked: list[int] = []

    async def create() -> str:
        asked.append(1)
        await asyncio.sleep(0.1)
        if len(asked) == 1:
            raise ValueError("the model failed")
        return "an answer"

    async def ask_all() -> list[Any]:
        async with AsyncSemanticCache(made) as one, AsyncSemanticCache(made) as two:
            assert await one.warm_up()
            assert await two.warm_up()
            asking = [cache.get_or_create("a question", create) for cache in [one, two] * 5]
            found: list[Any] = await asyncio.gather(*asking, return_exceptions=True)
            return found

    answers = asyncio.run(ask_all())
    assert len([one for one in answers if isinstance(one, ValueError)]) == 1
    assert answers.count("an answer") == 9
    assert len(asked) == 2


def test_a_killed_process_that_asks_the_model_releases_the_others(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        pid = os.fork()
        if pid == 0:
            cache.get_or_create("a question", lambda: time.sleep(30))
            os._exit(0)
        time.sleep(1.0)
        with server.client() as client:
            assert list(client.scan_iter(f"nearhit:{{{made.namespace}}}:flight:*"))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        started = time.monotonic()
        assert cache.get_or_create("a question", lambda: "an answer") == "an answer"
        assert time.monotonic() - started < 10


def test_a_dead_log_server_holds_no_single_flight(settings: Callable[..., Settings], own_server: ValkeyServer) -> None:
    made = settings(log_url=own_server.url)
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        own_server.stop()
        assert cache.get_or_create("a question", lambda: "an answer") == "an answer"


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_no_secret_and_no_text_is_in_a_log_line_or_a_repr(
    settings: Callable[..., Settings],
    own_server: ValkeyServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    with own_server.client() as client:
        client.config_set("requirepass", "hunter2")
    made = settings(
        url=f"valkey://:wrong-hunter2@127.0.0.1:{own_server.port}/0",
        log_url=f"valkey://:hunter2@127.0.0.1:{own_server.port}/0",
        broker_url=f"redis://:hunter2@127.0.0.1:{own_server.port}/0",
    )
    runtime = hashed(made)
    process = Process(made)
    with SemanticCache(made) as cache:
        cache.lookup("what is the private question")
        cache.fill("what is the private question", "a private answer")
    with pytest.raises(Exception, match=r".") as refused:
        runtime.drain("interactive")
    said = caplog.text + repr(made) + repr(runtime) + repr(process) + repr(refused.value) + repr(cache)
    assert "hunter2" not in said.replace("wrong-hunter2", "hunter2")
    assert "private" not in said


def test_an_unreadable_reply_of_the_log_is_named(server: ValkeyServer, namespace: str) -> None:
    reply = ReplyError("WRONGTYPE Operation against a key", "ResponseError")
    flow = filllog.promote(LogKeys(namespace), "bulk", 1, 1)
    next(flow)
    with pytest.raises(StoreUnavailableError, match="retry:bulk"):
        flow.send([reply])
