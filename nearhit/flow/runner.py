# Made by tools/make_blocking.py from nearhit/flow/async_runner.py: change that file, then run `make twins`.
"""Runner: runs flows on the calling thread within a deadline."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from nearhit.domain.vectors import checked_rows
from nearhit.errors import (
    BusyError,
    ContractError,
    EmbedderUnavailableError,
    JudgeUnavailableError,
    NearhitError,
    UnavailableError,
)
from nearhit.flow.calls import Calls
from nearhit.flow.gate import add_time
from nearhit.flow.steps import Compare, Embed, Flow, Send, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from nearhit.flow.gate import Gate, Said
    from nearhit.flow.ports import Embedder, Embeddings, Link, PairJudge

S = TypeVar("S")
T = TypeVar("T")

_JUDGED_AT_ONCE = 8
"""Pairs of one step that a judge is asked about at a time."""

FAILURES: tuple[type[Exception], ...] = (UnavailableError, ContractError)
"""What a flow may catch."""


def drive(
    flow: Generator[S, Any, T],
    take: Callable[[S], Any],
    failures: tuple[type[Exception], ...] = FAILURES,
) -> T:
    """Return what ``flow`` returns.

    Args:
        flow: a fresh generator.
        take: does a step and returns the answer.
        failures: what ``take`` raises of these is thrown into the flow; anything else comes out of here.
    """
    answer: Any = None
    failure: Exception | None = None
    while True:
        try:
            step = flow.throw(failure) if failure is not None else flow.send(answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # a flow's return value is its T
        answer = failure = None
        try:
            answer = take(step)
        except failures as error:
            failure = error


def run_sends(flow: Flow[T], link: Link, seconds: float) -> T:
    """Return what a flow returns that only sends, without circuit breakers and metrics.

    Args:
        flow: what to run.
        link: the way to the server.
        seconds: longest time of each round trip.
    """

    def take(step: Step) -> Any:
        if not isinstance(step, Send):
            raise TypeError(f"a runner is needed for {step!r}")
        if step.after_seconds:
            time.sleep(step.after_seconds)
        return link.send(step.commands, seconds)

    return drive(flow, take)


class Runner:
    """Runs flows on the calling thread.

    Args:
        link: the way to the server.
        embedder: embeds texts, and keeps its time limit by itself.
        gate: breakers and counts.
        judge: who is asked by flows of a cache with a second stage.
    """

    def __init__(self, link: Link, embedder: Embedder, gate: Gate, judge: PairJudge | None = None) -> None:
        self._link = link
        self._embedder = embedder
        self._gate = gate
        self._judge = judge
        self._calls = Calls(gate.came_late)

    def run(self, flow: Flow[T], seconds: float, stages: dict[str, float] | None = None) -> T:
        """Return what ``flow`` returns; whatever it waits for ends within ``seconds`` in all.

        Time that an event loop was late is not counted: see ``LoopClock``.

        Args:
            flow: what to run.
            seconds: its budget.
            stages: where to add the seconds spent by stage.
        """
        with self._calls.clock() as clock:
            end = clock.now() + seconds

            def take(step: Step) -> Any:
                started = time.monotonic()
                try:
                    return self._take(step, end - clock.now())
                finally:
                    add_time(stages, step, started)

            return drive(flow, take)

    def _take(self, step: Step, remaining: float) -> Any:
        began = self._gate.enter(step, remaining)
        try:
            if isinstance(step, Send):
                if step.after_seconds >= remaining:  # no failure of the server, so that no breaker may count it
                    raise BusyError("no time is left for another try")
                if step.after_seconds:
                    time.sleep(step.after_seconds)
                answer: Any = self._link.send(step.commands, remaining - step.after_seconds)
            elif isinstance(step, Embed):
                answer = self._embed(step.texts, remaining)
                self._gate.embedded(answer)
            else:
                return self._gate.compared(step, self._compare(step, remaining))
        except (UnavailableError, ContractError) as error:
            self._gate.failed(step, error, began)
            raise
        self._gate.succeeded(step)
        return answer

    def _embed(self, texts: tuple[str, ...], remaining: float) -> Embeddings:
        try:
            made = self._embedder.embed(texts, remaining)
            return replace(made, vectors=checked_rows(made.vectors, len(texts)))
        except NearhitError:
            raise
        except Exception as error:  # the port may be implemented by the caller, who may raise anything
            raise EmbedderUnavailableError(f"{self._embedder.name} raised {type(error).__name__}") from error

    def _compare(self, step: Compare, remaining: float) -> list[Said]:
        judge, end = self._judge, time.monotonic() + min(step.seconds, remaining)
        assert judge is not None  # noqa: S101 - only a cache with a judge has flows that ask one

        def one(pair: tuple[str, str]) -> Said:
            left = end - time.monotonic()
            if left <= 0:
                return JudgeUnavailableError("no time is left to ask the judge")
            try:
                return judge.judge(*pair, left)
            except (UnavailableError, ContractError) as error:
                return error

        return self._calls.each(one, step.pairs, _JUDGED_AT_ONCE)
