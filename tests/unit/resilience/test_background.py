from __future__ import annotations

import os
import queue
import threading
import time
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from nearhit.resilience.background import Background, Inbox, off_loop, start_thread
from tests.support.threads import no_threads

if TYPE_CHECKING:
    from collections.abc import Callable


class Kept:
    """Keeps the items that its thread takes; can be held up, and can return early as an idle thread does."""

    def __init__(self, *, idle_seconds: float | None = None, max_waiting: int | None = None) -> None:
        self.items: list[int] = []
        self.threads: set[int | None] = set()
        self.gate = threading.Event()
        self.gate.set()
        self._idle_seconds = idle_seconds
        self.background: Background[int] = Background("nearhit-test", self._run, max_waiting)

    def _run(self, inbox: Inbox[int]) -> None:
        self.threads.add(threading.get_ident())
        while not inbox.ended:
            item = inbox.take(self._idle_seconds)
            if item is None:
                return
            self.gate.wait(10)
            if item < 0:
                raise ValueError(item)
            self.items.append(item)


def running(name: str = "nearhit-test") -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_items_are_taken_in_order_by_one_thread_and_all_before_it_closes() -> None:
    kept = Kept()
    assert running() == 0
    assert all(kept.background.put(number) for number in range(100))
    kept.background.close(10)
    assert kept.items == list(range(100))
    assert (running(), len(kept.threads)) == (0, 1)
    assert not kept.background.put(100)
    assert not kept.background.start()


def test_what_finds_no_room_is_refused() -> None:
    kept = Kept(max_waiting=2)
    kept.gate.clear()
    kept.background.put(0)
    wait_until(lambda: kept.background.put(1), 5, "the first is taken")
    taken = [kept.background.put(number) for number in range(2, 9)]
    assert taken.count(True) <= 2
    assert taken[-1] is False
    kept.gate.set()
    kept.background.close(10)
    assert len(kept.items) == 2 + taken.count(True)


def test_a_thread_that_has_ended_is_followed_by_another() -> None:
    kept = Kept(idle_seconds=0.001)
    for number in range(200):
        assert kept.background.put(number)
        if number % 50 == 0:
            wait_until(lambda: running() == 0, 5, "the idle thread ends")
    wait_until(lambda: len(kept.items) == 200, 5, "no item is stranded")
    assert kept.items == list(range(200))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_ends_the_thread_and_the_next_item_starts_another() -> None:
    kept = Kept()
    kept.background.put(-1)
    wait_until(lambda: running() == 0, 5, "the thread ends")
    kept.background.put(7)
    wait_until(lambda: kept.items == [7], 5, "another thread takes the next one")
    kept.background.close(5)


def test_an_item_that_gets_no_thread_waits_for_one() -> None:
    kept = Kept()
    with no_threads():
        assert kept.background.put(1)
        assert not kept.background.start()
        kept.background.join(1.0)
    assert kept.items == []
    assert kept.background.put(2)
    kept.background.close(5)
    assert kept.items == [1, 2]


def test_ending_waits_for_nothing_and_leaves_what_waits() -> None:
    kept = Kept()
    kept.gate.clear()
    for number in range(10):
        kept.background.put(number)
    started = time.monotonic()
    kept.background.end()
    assert time.monotonic() - started < 1.0
    kept.gate.set()
    kept.background.join(5)
    assert kept.items in ([], [0])
    assert running() == 0


def test_a_thread_ends_itself_without_waiting_for_itself() -> None:
    done: queue.SimpleQueue[str] = queue.SimpleQueue()

    def work(_: Inbox[int]) -> None:
        background.end()
        background.join(10)
        done.put("ended")

    background: Background[int] = Background("nearhit-test", work)
    background.start()
    assert done.get(timeout=5) == "ended"


def test_the_queue_does_not_keep_its_owner_alive() -> None:
    kept = Kept()
    background = kept.background
    del kept
    assert background.start()  # nobody is there to work: the thread ends at once
    wait_until(lambda: running() == 0, 5, "the thread ends")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_thread_and_a_queue_of_its_own() -> None:
    kept = Kept()
    kept.gate.clear()
    kept.background.put(1)
    kept.background.put(2)
    pid = os.fork()
    if pid == 0:
        kept.gate.set()
        kept.background.put(3)
        kept.background.close(10)
        os._exit(0 if kept.items == [3] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    kept.gate.set()
    kept.background.close(10)
    assert kept.items == [1, 2]


def test_many_callers_start_one_thread() -> None:
    kept = Kept()
    kept.gate.clear()
    barrier = threading.Barrier(16)

    def call() -> None:
        barrier.wait()
        kept.background.put(1)

    callers = [threading.Thread(target=call) for _ in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert running() == 1
    kept.gate.set()
    kept.background.close(10)
    assert len(kept.items) == 16


def test_one_thing_is_done_on_a_thread_or_not_at_all() -> None:
    done = threading.Event()
    with no_threads():
        assert not start_thread("nearhit-test", done.set)
    assert not done.is_set()
    assert start_thread("nearhit-test", done.set)
    assert done.wait(5)


@pytest.mark.parametrize("refused", [False, True])
def test_work_beside_a_loop_is_done_once_with_or_without_a_thread(refused: bool) -> None:
    import asyncio

    done: list[int] = []

    async def scene(work: Callable[[], None]) -> None:
        if refused:
            with no_threads():
                await off_loop(work)
        else:
            await off_loop(work)
        await asyncio.to_thread(int)

    asyncio.run(scene(lambda: done.append(1)))
    assert done == [1]
