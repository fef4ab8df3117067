"""Forked children and many threads: each finds its own connections, and nobody reads another's reply."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import inspect
import os
import threading
import time
import traceback
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import wait_until

from nearhit import FillOutcome, Hit, SemanticCache
from tests.support.writer import written

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from nearhit import Settings
    from tests.support.faces import Face
    from tests.support.store import Store

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning"
)  # Python 3.12 warns of what is tested here

CHILD_SECONDS = 30
LOCK = type(threading.Lock())


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child and return the child's process id; it exits with 0 when all went well."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    faulthandler.dump_traceback_later(CHILD_SECONDS - 5)
    warnings.simplefilter("ignore")  # as errors they would end the finalizers that are watched here
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must never come back into the test run
        traceback.print_exc()
    finally:
        os._exit(code)


def joined(*pids: int) -> list[int]:
    """Return the exit codes of children; one that does not end is killed and counts as -9."""
    codes, end = [], time.monotonic() + CHILD_SECONDS
    for pid in pids:
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes.append(os.waitstatus_to_exitcode(status))
                break
            if time.monotonic() > end:
                os.kill(pid, 9)
            time.sleep(0.02)
    return codes


def asks(cache: Face, number: int, times: int = 50) -> None:
    wait_until(lambda: bool(cache.lookup(f"what is {number}")), 20, "the semantic tier answers in the child")
    for _ in range(times):
        found = cache.lookup(f"What is {number}?")
        assert isinstance(found, Hit), found
        assert found.answer == number


@pytest.mark.parametrize("used", [True, False], ids=["used before the fork", "made before the fork"])
def test_children_and_parent_look_up_and_fill_side_by_side(
    face: Callable[..., Face],
    store: Callable[..., Store],
    settings: Callable[..., Settings],
    client: redis.Redis,
    namespace: str,
    used: bool,
) -> None:
    stock = store()
    stock.put(*(stock.entry(f"What is {number}?", number) for number in range(4)))
    cache = face()
    if used:
        assert cache.warm_up()
        asks(cache, 0, 5)
        assert cache.fill("parent?", "x") is FillOutcome.ACCEPTED

    def child(number: int) -> None:
        asks(cache, number)
        assert cache.fill(f"child {number}?", number) is FillOutcome.ACCEPTED
        cache.close()

    pids = [in_child(lambda number=number: child(number)) for number in (1, 2, 3)]  # type: ignore[misc]
    asks(cache, 0)
    assert joined(*pids) == [0, 0, 0]
    asks(cache, 0, 5)
    assert client.xlen(f"nearhit:{{{namespace}}}:log:interactive") == 3 + used
    assert written(settings()) == 3 + used


def test_a_child_that_collects_garbage_leaves_its_parents_connections_alone(
    face: Callable[..., Face], store: Callable[..., Store]
) -> None:
    stock = store()
    stock.add("What is 0?", 0)
    cache = face()
    assert cache.warm_up()
    asks(cache, 0, 5)

    async def collect() -> None:
        gc.collect()

    def child() -> None:
        for _ in range(3):
            asks(cache, 0, 2)
            cache.run(collect())

    assert joined(in_child(child)) == [0]
    found = [cache.lookup("What is 0?") for _ in range(5)]
    assert all(found), found


def test_a_child_forked_while_the_cache_opens_works(face: Callable[..., Face], store: Callable[..., Store]) -> None:
    stock = store()
    stock.add("What is 1?", 1)
    cache = face(deadline_ms=5)
    cache.lookup("What is 1?")
    patient = in_child(lambda: wait_until(lambda: bool(cache.lookup("What is 1?")), 20, "a hit in the child"))
    assert joined(patient) == [0]
    wait_until(lambda: bool(cache.lookup("What is 1?")), 20, "a hit in the parent")


@pytest.mark.parametrize("kind", ["asyncio"])
def test_a_child_leaves_the_loop_alone_in_which_its_parent_had_begun_to_open(
    kind: str, face: Callable[..., Face], store: Callable[..., Store]
) -> None:
    """Both share one epoll set: a loop that the child closes takes the parent's wake-ups out of it."""
    store().add("What is 1?", 1)
    cache = face()

    async def begin() -> None:
        asking = asyncio.create_task(cache.cache.lookup("What is 1?"))
        await asyncio.sleep(0)
        asking.cancel()

    def child() -> None:
        gc.set_threshold(1)  # what nobody holds goes at once
        wait_until(lambda: bool(cache.lookup("What is 1?")), 20, "a hit in the child")

    cache.run(begin())
    assert joined(in_child(child)) == [0]

    async def wake() -> int:
        return await asyncio.wait_for(asyncio.to_thread(int, "7"), 20)

    assert cache.run(wake()) == 7


def test_a_child_forgets_what_its_parent_has_spooled(kind: str, settings: Callable[..., Settings]) -> None:
    from nearhit_worker.stack import free_port

    from tests.support.faces import Face

    with Face(kind, settings(log_url=f"valkey://127.0.0.1:{free_port()}", enqueue_deadline_ms=50)) as cache:
        assert cache.fill("What?", "x") is FillOutcome.SPOOLED

        def child() -> None:
            assert cache.fill("Who?", "y") is FillOutcome.SPOOLED
            name, labels = "nearhit_spool_fills", {"namespace": cache.metrics.namespace}
            assert cache.metrics.registry.get_sample_value(name, labels) == 1

        assert joined(in_child(child)) == [0]


def test_sixteen_threads_never_get_each_others_answers(
    settings: Callable[..., Settings], store: Callable[..., Store]
) -> None:
    stock = store()
    stock.put(*(stock.entry(f"What is {number}?", number) for number in range(16)))
    with SemanticCache(settings(deadline_ms=10_000, vector_cache_entries=0)) as cache:
        assert cache.warm_up()
        wait_until(lambda: all(cache.lookup(f"what is {number}") for number in range(16)), 20, "all are found")
        barrier = threading.Barrier(16)

        def ask(number: int) -> list[Any]:
            barrier.wait()
            found = []
            for at in range(60):
                text = f"What is {number}?" if at % 2 else f"what is {number}"
                outcome = cache.lookup(text)
                found.append(outcome.answer if isinstance(outcome, Hit) else outcome)
                assert cache.fill(f"Thread {number} says {at}", at) is FillOutcome.ACCEPTED
            return found

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(16)))
    assert answers == [[number] * 60 for number in range(16)]
    assert written(settings()) == 16 * 60


def test_more_threads_than_connections_are_misses_and_never_errors(
    settings: Callable[..., Settings], store: Callable[..., Store]
) -> None:
    stock = store()
    stock.add("What is it?", "a thing")
    with SemanticCache(settings(deadline_ms=10_000)) as cache:
        assert cache.warm_up()
        with ThreadPoolExecutor(96) as pool:
            outcomes = list(pool.map(lambda _: cache.lookup("What is it?"), range(960)))
        assert {one.reason.value for one in outcomes if not isinstance(one, Hit)} <= {"unavailable"}
        wait_until(lambda: bool(cache.lookup("What is it?")), 10, "it is a hit again")


def locks_of(start: object) -> list[Any]:
    """Return the locks that can be reached from an object of ours; other libraries' own are their affair."""
    found: dict[int, Any] = {}
    seen, waiting = {id(start)}, [start]
    while waiting:
        one = waiting.pop()
        if isinstance(one, LOCK):
            found[id(one)] = one
            continue
        ours = type(one).__module__.startswith("nearhit") or isinstance(one, dict | list | tuple | set | types.CellType)
        if not ours and not inspect.isfunction(one) and not inspect.ismethod(one):
            continue
        seen.add(id(getattr(one, "__globals__", None)))
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, type) and not inspect.ismodule(other):
                seen.add(id(other))
                waiting.append(other)
    return list(found.values())


def test_a_child_waits_for_no_lock_that_a_thread_of_its_parent_held(
    face: Callable[..., Face], store: Callable[..., Store]
) -> None:
    store().add("What is 1?", 1)
    cache = face()
    assert cache.warm_up()
    asks(cache, 1, 3)
    held, enough, ready = locks_of(cache.cache), threading.Event(), threading.Event()
    assert len(held) > 1

    def hold() -> None:
        with ExitStack() as stack:
            for lock in held:
                if lock.acquire(timeout=5):
                    stack.callback(lock.release)
            ready.set()
            enough.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(60)

    def child() -> None:
        asks(cache, 1, 3)
        assert cache.fill("What is 2?", 2) is FillOutcome.ACCEPTED

    pid = in_child(child)
    try:
        assert joined(pid) == [0]
    finally:
        enough.set()
        thread.join()
