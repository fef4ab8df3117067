"""Opener: opens the space of a cache in the background, on a thread or as a task of the caller's event loop.

Neither holds the cache itself, so that one which nobody holds any more can go while it is opening.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from nearhit.errors import IndexLostError, NearhitError, UnavailableError
from nearhit.flow.async_runner import AsyncRunner
from nearhit.flow.runner import Runner
from nearhit.index.opening import open_space
from nearhit.read.readiness import OPEN_SECONDS
from nearhit.resilience.background import off_loop, start_thread
from nearhit.valkey.async_link import keep_inherited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nearhit.index.opening import Plan
    from nearhit.index.space import Space
    from nearhit.judge.second_stage import SecondStage
    from nearhit.read.failsafe import Failsafe
    from nearhit.read.live_thresholds import LiveRules
    from nearhit.read.readiness import Readiness

R = TypeVar("R")


class _Opening(Generic[R]):
    """What both openers share: how an opening begins, and how one that fails is noted.

    Args:
        plan: how to open the space.
        runner: runs the flow of the opening.
        readiness: says when to open, and takes what an opening gives.
        live: the thresholds that lookups go by, read before the first of them.
        failsafe: counts what must not happen.
        judging: the second stage, which loads its model with the opening; ``None`` where it is off.
    """

    def __init__(
        self,
        plan: Plan,
        runner: R,
        readiness: Readiness,
        live: LiveRules,
        failsafe: Failsafe,
        judging: SecondStage | None = None,
    ) -> None:
        self._plan = plan
        self._runner = runner
        self._readiness = readiness
        self._live = live
        self._failsafe = failsafe
        self._judging = judging
        self._pid = os.getpid()

    @property
    def opened(self) -> Space | None:
        """The open space, where there is nothing to do about it; else ``space`` has to be asked."""
        return self._readiness.space if self._readiness.settled and self._pid == os.getpid() else None

    def _forked(self) -> bool:
        """Return whether this is the first call in a forked child, which has to open anew."""
        if self._pid == os.getpid():
            return False
        self._pid = os.getpid()
        self._readiness.forget()
        return True

    def _begin(self) -> None:
        if not self._live.start():
            raise UnavailableError("no thread can be started")

    @contextmanager
    def _noted(self, turn: int) -> Iterator[None]:
        """Note how an opening fails, so that a later lookup opens again; only what ends its thread or task goes on."""
        failed: NearhitError = IndexLostError("the opening was ended")
        opened = False
        try:
            yield
            opened = True
        except NearhitError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - the caller's own embedder and judge are called; a bug is seen, too
            self._failsafe.lookup_broke(error, None)
            failed = IndexLostError(f"opening failed: {type(error).__name__}")
        finally:
            if not opened:
                self._readiness.failed(failed, turn)


class Opener(_Opening[Runner]):
    """Opens on a thread."""

    def space(self, wait_seconds: float) -> Space | None:
        """Return the open space, starting to open it where needed and waiting for the first one."""
        self._forked()
        turn = self._readiness.try_to_enter()
        if turn:
            self._start(turn)
        if self._readiness.waiting:
            self._readiness.changed.wait(max(0.0, wait_seconds))
        return self._readiness.space

    def cancel(self) -> None:
        """Let a thread that opens go on: ``Readiness`` closes what it gives after the end."""

    def _start(self, turn: int) -> None:
        started = False
        try:
            started = start_thread("nearhit-open", self._open, turn)
        finally:
            if not started:  # or interrupted just then: what a thread that runs after all gives is taken nevertheless
                self._readiness.failed(UnavailableError("no thread can be started"), turn)

    def _open(self, turn: int) -> None:
        with self._noted(turn):
            self._begin()
            opened = self._runner.run(open_space(self._plan, self._readiness.space), OPEN_SECONDS)
            self._live.wait()
            if self._judging is not None:
                self._judging.warm_up()
            self._readiness.opened(opened, turn)


class AsyncOpener(_Opening[AsyncRunner]):
    """Opens as a task of the event loop that asks first; the twin of ``Opener``."""

    _task: asyncio.Task[None] | None = None
    _turn = 0

    async def space(self, wait_seconds: float) -> Space | None:
        """Return the open space, starting to open it where needed and waiting for the first one."""
        if self._forked():
            keep_inherited(self._task)  # with it goes its loop, and with that the parent's wake-ups
        self._give_up()
        turn = self._readiness.try_to_enter()
        if turn:
            self._turn, self._task = turn, asyncio.create_task(self._open(turn), name="nearhit-open")
        task = self._task
        if self._readiness.waiting and task is not None and task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({task}, timeout=max(0.0, wait_seconds))
        return self._readiness.space

    def cancel(self) -> None:
        """Cancel an opening of the running loop."""
        if self._task is not None and not self._task.done() and self._task.get_loop() is asyncio.get_running_loop():
            self._task.cancel()

    def _give_up(self) -> None:
        """Note an opening as failed whose loop has ended, or stands still while the caller's runs."""
        turn, task = self._turn, self._task
        if not turn or turn != self._readiness.opening or task is None:
            return
        loop = task.get_loop()
        if task.done() or not (loop.is_running() or loop is asyncio.get_running_loop()):
            self._readiness.failed(IndexLostError("the event loop ended while the cache was opening"), turn)

    async def _open(self, turn: int) -> None:
        with self._noted(turn):  # a loop may end before the opening does: the next loop opens again
            self._begin()
            opened = await self._runner.run(open_space(self._plan, self._readiness.space), OPEN_SECONDS)
            await off_loop(self._live.wait)
            if self._judging is not None:
                await asyncio.to_thread(self._judging.warm_up)
            self._readiness.opened(opened, turn)
