"""Reads never hurt: whatever is down, hung, killed, slow or wrong, a lookup ends in time and says why."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nearhit import AsyncSemanticCache, FillOutcome, Hit, Miss, MissReason, Settings
from nearhit.embedding.port import Embeddings
from nearhit.testing import HashEmbedder
from tests.support.faces import Face
from tests.support.outcomes import FAR, NOTHING
from tests.support.shelf import Shelf
from tests.support.writer import written
from worker.stack import ValkeyServer, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

DEADLINE_MS = 250
MARGIN_SECONDS = 1.0
"""For a machine with more to do than this test; far below any of redis-py's own time limits and retries together."""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that a test may stop, freeze and kill."""
    with ValkeyServer(tmp_path / "own", durable=True) as server:
        yield server
        if server.child is not None and server.child.running:
            os.kill(server.child.process.pid, signal.SIGCONT)


@pytest.fixture
def own_settings(own_server: ValkeyServer, namespace: str) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {"threshold": 0.8, "url": own_server.url, "namespace": namespace, "model": "hash/64"}
        return Settings(**{**values, "guard": False, **changes})

    return make


@pytest.fixture
def own_face(kind: str, own_settings: Callable[..., Settings]) -> Iterator[Callable[..., Face]]:
    made: list[Face] = []

    def make(parts: dict[str, Any] | None = None, **changes: Any) -> Face:
        made.append(Face(kind, own_settings(**changes), **(parts or {})))
        return made[-1]

    yield make
    for one in made:
        one.close()


def pid_of(server: ValkeyServer) -> int:
    assert server.child is not None
    return server.child.process.pid


@contextmanager
def frozen(server: ValkeyServer) -> Iterator[None]:
    """Let the server hang: it takes connections and answers nothing."""
    os.kill(pid_of(server), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid_of(server), signal.SIGCONT)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def in_time(call: Callable[[], Any], milliseconds: float = DEADLINE_MS) -> Any:
    outcome, seconds = timed(call)
    assert seconds < milliseconds / 1000 + MARGIN_SECONDS
    return outcome


def reason(outcome: Hit | Miss) -> MissReason:
    assert isinstance(outcome, Miss), outcome
    return outcome.reason


def count(face: Face, name: str, **labels: str) -> float:
    return face.metrics.registry.get_sample_value(name, {"namespace": face.metrics.namespace, **labels}) or 0.0


def stocked(face: Face, settings: Settings) -> None:
    """Have one answer in the cache, and the cache warm."""
    assert face.warm_up()
    shelf = Shelf(settings)
    shelf.add("What is it?", "a thing")
    shelf.close()
    wait_until(lambda: bool(face.lookup("what is it")), 10, "the entry is found")


def test_a_server_that_was_never_there_is_a_miss_in_time(kind: str, namespace: str) -> None:
    settings = Settings(threshold=0.8, url=f"valkey://127.0.0.1:{free_port()}", namespace=namespace, model="hash/64")
    with Face(kind, settings) as cache:
        for _ in range(5):
            assert reason(in_time(lambda: cache.lookup("What is it?"))) is MissReason.UNAVAILABLE
        assert in_time(lambda: cache.fill("What is it?", "x"), 50) is FillOutcome.SPOOLED
        assert count(cache, "nearhit_lookups_total", tier="none", outcome="unavailable") == 5


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_hung_server_is_a_miss_in_time_and_a_hit_when_it_wakes(
    own_face: Any, own_settings: Any, own_server: ValkeyServer, warm: bool
) -> None:
    if warm:
        cache = own_face()
        stocked(cache, own_settings())
    else:
        shelf = Shelf(own_settings())
        shelf.add("What is it?", "a thing")
        shelf.close()
        cache = own_face()
    with frozen(own_server):
        for _ in range(6):
            assert reason(in_time(lambda: cache.lookup("What is it?"))) in {MissReason.UNAVAILABLE, MissReason.WARMING}
        fast = [timed(lambda: cache.lookup("What is it?"))[1] for _ in range(5)]
        if warm:
            assert min(fast) < DEADLINE_MS / 1000  # the breaker is open: most lookups do not even try
        assert in_time(lambda: cache.fill("Who is it?", "x"), 50) is FillOutcome.SPOOLED
        assert in_time(lambda: cache.fill("Who is it?", "x" * 4_000_000), 50) is FillOutcome.SPOOLED
    wait_until(lambda: bool(cache.lookup("What is it?")), 20, "it is a hit again")


def test_a_hung_server_holds_no_caller_of_a_cache_with_one_connection_for_each_of_many_threads(
    own_face: Any, own_settings: Any, own_server: ValkeyServer, kind: str
) -> None:
    if kind == "asyncio":
        return  # one loop, one thread
    cache = own_face()
    stocked(cache, own_settings())
    seconds: list[float] = []
    with frozen(own_server):
        threads = [
            threading.Thread(target=lambda: seconds.append(timed(lambda: cache.lookup("What is it?"))[1]))
            for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seconds) == 12
    assert max(seconds) < DEADLINE_MS / 1000 + MARGIN_SECONDS


def test_a_killed_server_is_a_miss_in_time_and_a_hit_when_it_is_back(
    own_face: Any, own_settings: Any, own_server: ValkeyServer
) -> None:
    cache = own_face()
    stocked(cache, own_settings())
    own_server.kill()
    for _ in range(5):
        assert reason(in_time(lambda: cache.lookup("What is it?"))) is MissReason.UNAVAILABLE
    assert count(cache, "nearhit_breaker_open", part="store") == 1
    assert cache.fill("Who is it?", "nobody") is FillOutcome.SPOOLED
    own_server.start()
    wait_until(lambda: bool(cache.lookup("What is it?")), 20, "it is a hit again")
    wait_until(lambda: bool(cache.lookup("what is it")), 20, "the semantic tier is back")
    assert count(cache, "nearhit_breaker_open", part="store") == 0


def test_fills_of_an_outage_are_written_when_it_is_over(
    own_face: Any, own_settings: Any, own_server: ValkeyServer
) -> None:
    cache = own_face()
    stocked(cache, own_settings())
    own_server.kill()
    for number in range(20):
        assert in_time(partial(cache.fill, f"Question {number}?", number), 50) is FillOutcome.SPOOLED
    own_server.start()
    wait_until(lambda: count(cache, "nearhit_spool_fills") == 0, 20, "the spool is sent")
    assert count(cache, "nearhit_fills_total", outcome="accepted") == 20
    assert written(own_settings()) == 20
    wait_until(lambda: getattr(cache.lookup("Question 7?"), "answer", 0) == 7, 20, "what was filled is a hit")


def test_a_server_that_comes_back_empty_is_filled_anew(
    own_face: Any, own_settings: Any, own_server: ValkeyServer
) -> None:
    cache = own_face()
    stocked(cache, own_settings())
    with own_server.client() as client:
        client.flushall()
    wait_until(lambda: not cache.lookup("what is it"), 10, "the entry is gone")
    shelf = Shelf(own_settings())
    shelf.add("What is it?", "another thing")
    wait_until(lambda: getattr(cache.lookup("what is it"), "answer", "") == "another thing", 10, "it is found again")
    shelf.close()


class Slow:
    """A server in front of the real one that answers, but late."""

    def __init__(self, port: int, seconds: float) -> None:
        self._target, self.seconds = port, seconds
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket] = [self._socket]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open += [near, far]
            for pair in ((near, far, 0), (far, near, 1)):
                thread = threading.Thread(target=self._carry, args=pair, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _carry(self, source: socket.socket, target: socket.socket, late: int) -> None:
        try:
            while data := source.recv(65536):
                time.sleep(self.seconds * late)
                target.sendall(data)
        except OSError:
            return
        finally:
            target.close()

    def close(self) -> None:
        for one in self._open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                one.close()
        for thread in self._threads:
            thread.join(5)


@pytest.mark.parametrize("seconds", [0.15, 0.6])
def test_a_slow_server_is_a_miss_in_time(own_face: Any, own_server: ValkeyServer, seconds: float) -> None:
    slow = Slow(own_server.port, 0.0)
    cache = own_face(url=f"valkey://127.0.0.1:{slow.port}")
    assert cache.warm_up()
    slow.seconds = seconds
    for number in range(4):
        assert isinstance(in_time(partial(cache.lookup, f"What is {number}?")), Miss)
    slow.seconds = 0.0
    wait_until(lambda: reason(cache.lookup("What?")) in NOTHING, 20, "it answers again")
    cache.close()
    slow.close()


class Moody:
    """The hash embedder, until its mood changes."""

    name, in_process = "hash/64", False

    def __init__(self) -> None:
        self._inner = HashEmbedder(64)
        self.mood = ""
        self.calls = 0

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.calls += 1
        if self.mood == "hangs":
            time.sleep(3)
        return self._say(texts)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.calls += 1
        if self.mood == "hangs":
            await asyncio.sleep(3)
        return self._say(texts)

    def _say(self, texts: Sequence[str]) -> Embeddings:
        made = self._inner.embed(texts, 1).vectors
        if self.mood == "raises":
            raise RuntimeError("a bug of the embedder")
        changed: dict[str, Callable[[], Any]] = {
            "short": lambda: made[:, :32],
            "nan": lambda: np.full_like(made, np.nan),
            "zero": lambda: np.zeros_like(made),
            "none": lambda: None,
            "many": lambda: np.concatenate([made, made]),
        }
        return Embeddings(changed[self.mood]() if self.mood in changed else made)


@pytest.mark.parametrize(
    ("mood", "expected"),
    [
        ("raises", MissReason.EMBEDDER_UNAVAILABLE),
        ("hangs", MissReason.EMBEDDER_UNAVAILABLE),
        ("short", MissReason.EMBEDDER_REFUSED),
        ("nan", MissReason.EMBEDDER_REFUSED),
        ("zero", MissReason.EMBEDDER_REFUSED),
        ("none", MissReason.EMBEDDER_REFUSED),
        ("many", MissReason.EMBEDDER_REFUSED),
    ],
)
def test_an_embedder_that_fails_is_a_miss_by_name_and_exact_hits_go_on(
    own_face: Any, own_settings: Any, mood: str, expected: MissReason
) -> None:
    moody = Moody()
    cache = own_face({"embedder": moody})
    stocked(cache, own_settings())
    moody.mood = mood
    for number in range(5):
        missed = in_time(partial(cache.lookup, f"Who is {number}?"))
        assert (reason(missed), missed.vector) == (expected, b"")
        assert in_time(lambda: cache.lookup("What is it?")).answer == "a thing"
    if expected is MissReason.EMBEDDER_UNAVAILABLE:
        assert count(cache, "nearhit_breaker_open", part="embed") == 1
    moody.mood = ""
    wait_until(lambda: reason(cache.lookup("Nobody?")) in FAR, 20, "the semantic tier is back")
    assert count(cache, "nearhit_breaker_open", part="embed") == 0
    missed = cache.lookup("Nobody?")
    assert cache.fill(missed, "no") in {FillOutcome.ACCEPTED, FillOutcome.SPOOLED}


@pytest.mark.parametrize("mood", ["raises", "hangs", "nan", "zero", "none", "many"])
def test_a_cache_that_starts_with_a_failing_embedder_heals(own_face: Any, mood: str) -> None:
    moody = Moody()
    moody.mood = mood
    cache = own_face({"embedder": moody})
    for _ in range(3):
        outcome = in_time(lambda: cache.lookup("What is it?"))
        assert reason(outcome) in {MissReason.EMBEDDER_UNAVAILABLE, MissReason.MISCONFIGURED, MissReason.WARMING}
    moody.mood = ""
    wait_until(lambda: reason(cache.lookup("What is it?")) in NOTHING, 30, "it works")


def test_a_loop_is_not_held_while_the_server_hangs(own_settings: Any, own_server: ValkeyServer) -> None:
    async def lag() -> float:
        worst = 0.0
        while True:
            started = time.monotonic()
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                return worst
            worst = max(worst, time.monotonic() - started - 0.005)

    async def scene() -> tuple[float, list[Hit | Miss], list[FillOutcome]]:
        cache = AsyncSemanticCache(own_settings())
        assert await cache.warm_up()
        await cache.lookup("What is it?")
        with frozen(own_server):
            ticker = asyncio.create_task(lag())
            await asyncio.sleep(0.01)
            lookups = await asyncio.gather(*(cache.lookup(f"What is {number}?") for number in range(50)))
            fills = await asyncio.gather(*(cache.fill(f"What is {number}?", "x") for number in range(50)))
            ticker.cancel()
            worst = await ticker
        await cache.close()
        return worst, lookups, fills

    held = []
    for _ in range(3):  # a loop that is held is held every time, one that a busy machine stops is not
        worst, lookups, fills = asyncio.run(scene())
        assert {reason(one) for one in lookups} <= {MissReason.UNAVAILABLE, MissReason.WARMING}
        assert set(fills) == {FillOutcome.SPOOLED}
        held.append(worst)
    assert min(held) < 0.2


def test_a_cancelled_lookup_leaves_no_reply_behind_for_the_next_one(own_settings: Any) -> None:
    async def scene() -> list[Any]:
        cache = AsyncSemanticCache(own_settings(deadline_ms=2_000))
        assert await cache.warm_up()
        shelf = Shelf(own_settings())
        for number in range(20):
            shelf.add(f"What is {number}?", number)
        shelf.close()
        for number in range(20):
            task = asyncio.create_task(cache.lookup("What is 0?"))
            await asyncio.sleep(0 if number % 2 else 0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        found = [(await cache.lookup(f"What is {number}?")).answer for number in range(20)]  # type: ignore[union-attr]
        await cache.close()
        return found

    assert asyncio.run(scene()) == list(range(20))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what a loop that was not closed leaves to the collector
def test_one_asyncio_cache_serves_one_loop_after_another(own_settings: Any) -> None:
    cache = AsyncSemanticCache(own_settings(deadline_ms=2_000))

    async def scene(number: int) -> MissReason:
        assert await cache.warm_up()
        found = reason(await cache.lookup("What is it?"))
        if number == 2:
            await cache.close()
        return found

    assert {asyncio.run(scene(number)) for number in range(3)} <= NOTHING
    gc.collect()


def test_a_lookup_without_any_budget_left_is_a_miss(own_face: Any, own_settings: Any) -> None:
    cache = own_face(deadline_ms=1)
    stocked_settings = own_settings()
    cache.warm_up()
    shelf = Shelf(stocked_settings)
    shelf.add("What is it?", "a thing")
    shelf.close()
    for _ in range(20):
        assert in_time(lambda: cache.lookup("What is it?"), 1) is not None
