"""The end of a cache: dropped without being closed, or still there when the interpreter ends."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import AsyncSemanticCache, Hit, SemanticCache
from tests.support.faces import KINDS, Face
from tests.support.store import Store
from tests.support.threads import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nearhit import Settings


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server whose connections are those of the test alone."""
    with ValkeyServer(tmp_path / "own") as one:
        yield one


@pytest.fixture
def own_settings(own_server: ValkeyServer, namespace: str) -> Callable[..., Settings]:
    from nearhit import Settings

    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {"threshold": 0.8, "url": own_server.url, "namespace": namespace, "model": "hash/64"}
        return Settings(**{**values, "guard": False, "deadline_ms": 2_000, **changes})

    return make


def connections(server: ValkeyServer) -> int:
    with server.client() as client:
        return len(client.client_list(_type="normal")) - 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # redis-py's asyncio connections say that nobody closed them
@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_that_nobody_holds_any_more_leaves_no_thread_and_no_connection(
    kind: str, own_server: ValkeyServer, own_settings: Callable[..., Settings]
) -> None:
    store = Store(own_settings())
    store.add("what is it good for today", "much", refresh=b"{}", fresh_until_ms=1)
    store.close()
    before = ours()
    face: Any = Face(kind, own_settings(verify_share=1.0, broker_url="redis://127.0.0.1:1/0"))
    assert face.warm_up()
    wait_until(lambda: bool(face.lookup("what was it good for today")), 10, "the entry is found")
    assert isinstance(face.lookup("what was it good for today"), Hit)
    assert face.fill("What is that?", "x")
    names = {thread.name for thread in ours() - before}
    assert {"nearhit-replica", "nearhit-thresholds", "nearhit-refresh", "nearhit-verify"} <= names
    assert connections(own_server) > 1

    runner, face = face.runner, None
    gc.collect()
    wait_until(lambda: not ours() - before, 10, "its threads have ended")
    gc.collect()

    def closed() -> bool:
        if runner is not None:
            runner.run(asyncio.sleep(0.01))
        return connections(own_server) == 0

    wait_until(closed, 10, "its connections are closed")
    if runner is not None:
        runner.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_dropped_while_it_opens_goes_as_well(
    kind: str, own_server: ValkeyServer, own_settings: Callable[..., Settings]
) -> None:
    before = ours()
    face: Any = Face(kind, own_settings(deadline_ms=1))
    face.lookup("What is it?")
    runner, face = face.runner, None
    if runner is not None:
        runner.close()
    del runner
    gc.collect()
    wait_until(lambda: not ours() - before, 10, "its threads have ended")
    gc.collect()
    wait_until(lambda: connections(own_server) == 0, 10, "its connections are closed")


AT_EXIT = """
import asyncio, sys
from nearhit import AsyncSemanticCache, SemanticCache, Settings

class Last:
    def __init__(self, kind):
        settings = Settings(threshold=0.8, url=sys.argv[1], namespace="exit", model="hash/8", deadline_ms=2000)
        self.cache = kind(settings)
        self.write = sys.stdout.write
        self.run = asyncio.run if kind is AsyncSemanticCache else None
    def does(self, what, *words):
        found = getattr(self.cache, what)(*words)
        return self.run(found) if self.run else found
    def at_once(self, what, *words):
        found = getattr(self.cache, what)(*words)
        try:
            return found.send(None) if self.run else found
        except StopIteration as done:
            return done.value
    def __del__(self):
        miss = self.at_once("lookup", "What is it?")
        many = self.at_once("lookup_many", ["What is it?", "What is that?"])
        fill = self.at_once("fill", "What?", "x")
        self.write(f"{miss.reason.value} {[one.reason.value for one in many]} {fill.value} ")
        self.at_once("close")
        self.write("closed\\n")

last = Last({"sync": SemanticCache, "asyncio": AsyncSemanticCache}[sys.argv[2]])
if sys.argv[3] == "open":
    assert last.does("warm_up")
    last.does("lookup", "What is it?")
last.me = last  # only the end of the interpreter collects it
"""


@pytest.mark.parametrize("state", ["open", "never opened"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_lookup_while_the_interpreter_exits_is_a_miss_at_once(
    kind: str, state: str, own_server: ValkeyServer
) -> None:
    words = [sys.executable, "-c", AT_EXIT, own_server.url, kind, state]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "closed ['closed', 'closed'] dropped closed\n"), done.stderr


def test_a_cache_in_a_cycle_is_closed_by_the_collector(own_settings: Callable[..., Settings]) -> None:
    before = ours()
    cache: Any = SemanticCache(own_settings())
    assert cache.warm_up()
    cycle = [cache]
    cycle.append(cycle)
    assert ours() - before
    del cache, cycle
    gc.collect()
    wait_until(lambda: not ours() - before, 10, "its threads have ended")


def test_making_and_dropping_caches_leaves_nothing_behind(own_settings: Callable[..., Settings]) -> None:
    before = ours()
    for kind in (SemanticCache, AsyncSemanticCache):
        for _ in range(20):
            kind(own_settings())
    gc.collect()
    assert ours() == before
