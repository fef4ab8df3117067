"""Ticker: the background threads of a worker, which check the log and the index at regular times."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearhit_worker.runtime import INDEX_CHECK_SECONDS, WORK_LANES, Runtime, run_quietly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FORGET_SECONDS = 3600.0
_MEASURE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """What a thread does, and how many seconds it waits between."""

    name: str
    run: Callable[[], object]
    seconds: float


class Ticker:
    """Daemon threads, one for each step: a lane whose embedder takes its time holds up neither another nor the rest.

    Args:
        runtime: whose steps they are.
        steps: what to do.
    """

    def __init__(self, runtime: Runtime, steps: Sequence[Step]) -> None:
        self._runtime = runtime
        self._stop = threading.Event()
        self._threads = [self._thread(step) for step in steps]

    @classmethod
    def all_of(cls, runtime: Runtime) -> list[Step]:
        """Return the steps of a worker that is one process."""
        return [*cls.working(runtime), *cls._looking(runtime)]

    @classmethod
    def working(cls, runtime: Runtime) -> list[Step]:
        """Return the steps of a process that does the work: lanes emptied, claims kept alive, the index watched."""
        settings = runtime.settings
        ticks = [
            Step(f"tick_{lane}", functools.partial(runtime.tick, lane), settings.poll_seconds) for lane in WORK_LANES
        ]
        return [
            *ticks,
            Step("keep_alive", runtime.keep_alive, settings.claim_idle_ms / 4000),
            Step("check_index", runtime.check_index, INDEX_CHECK_SECONDS),
        ]

    @classmethod
    def watching(cls, runtime: Runtime) -> list[Step]:
        """Return the steps of a process whose children do the work."""
        return [Step("watch", runtime.watch, runtime.settings.poll_seconds), *cls._looking(runtime)]

    @classmethod
    def _looking(cls, runtime: Runtime) -> list[Step]:
        return [
            Step("observe", runtime.observe, max(1.0, runtime.settings.poll_seconds)),
            Step("measure", runtime.measure, max(_MEASURE_SECONDS, runtime.settings.poll_seconds)),
            Step("forget_consumers", runtime.forget_consumers, _FORGET_SECONDS),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Stop the threads after the step that each is in."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout_seconds)

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def _thread(self, step: Step) -> threading.Thread:
        def loop() -> None:
            while not self._stop.wait(step.seconds):
                run_quietly(step.name, self._runtime, step.run)

        return threading.Thread(target=loop, name=f"nearhit-{step.name}", daemon=True)
