"""Async runner: runs flows in an event loop within a deadline."""

from __future__ import annotations

import asyncio
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
from nearhit.flow.async_calls import AsyncCalls
from nearhit.flow.gate import add_time
from nearhit.flow.steps import Compare, Embed, Flow, Send, Step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from nearhit.flow.gate import Gate, Said
    from nearhit.flow.ports import AsyncLink, Embedder, Embeddings, PairJudge

S = TypeVar("S")
T = TypeVar("T")

_JUDGED_AT_ONCE = 8
"""Pairs of one step that a judge is asked about at a time."""

FAILURES: tuple[type[Exception], ...] = (UnavailableError, ContractError)
"""What a flow may catch."""


async def drive_async(
    flow: Generator[S, Any, T],
    take: Callable[[S], Awaitable[Any]],
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
            answer = await take(step)
        except failures as error:
            failure = error


async def run_sends_async(flow: Flow[T], link: AsyncLink, seconds: float) -> T:
    """Return what a flow returns that only sends, without circuit breakers and metrics.

    Args:
        flow: what to run.
        link: the way to the server.
        seconds: longest time of each round trip.
    """

    async def take(step: Step) -> Any:
        if not isinstance(step, Send):
            raise TypeError(f"a runner is needed for {step!r}")
        if step.after_seconds:
            await asyncio.sleep(step.after_seconds)
        return await link.send(step.commands, seconds)

    return await drive_async(flow, take)


class AsyncRunner:
    """Runs flows in an event loop.

    Args:
        link: the way to the server.
        embedder: embeds texts, and keeps its time limit by itself.
        gate: breakers and counts.
        judge: who is asked by flows of a cache with a second stage.
    """

    def __init__(self, link: AsyncLink, embedder: Embedder, gate: Gate, judge: PairJudge | None = None) -> None:
        self._link = link
        self._embedder = embedder
        self._gate = gate
        self._judge = judge
        self._calls = AsyncCalls(gate.came_late)

    async def run(self, flow: Flow[T], seconds: float, stages: dict[str, float] | None = None) -> T:
        """Return what ``flow`` returns; whatever it waits for ends within ``seconds`` in all.

        Time that an event loop was late is not counted: see ``LoopClock``.

        Args:
            flow: what to run.
            seconds: its budget.
            stages: where to add the seconds spent by stage.
        """
        with self._calls.clock() as clock:
            end = clock.now() + seconds

            async def take(step: Step) -> Any:
                started = time.monotonic()
                try:
                    return await self._take(step, end - clock.now())
                finally:
                    add_time(stages, step, started)

            return await drive_async(flow, take)

    async def _take(self, step: Step, remaining: float) -> Any:
        began = self._gate.enter(step, remaining)
        try:
            if isinstance(step, Send):
                if step.after_seconds >= remaining:  # no failure of the server, so that no breaker may count it
                    raise BusyError("no time is left for another try")
                if step.after_seconds:
                    await asyncio.sleep(step.after_seconds)
                answer: Any = await self._link.send(step.commands, remaining - step.after_seconds)
            elif isinstance(step, Embed):
                answer = await self._embed(step.texts, remaining)
                self._gate.embedded(answer)
            else:
                return self._gate.compared(step, await self._compare(step, remaining))
        except (UnavailableError, ContractError) as error:
            self._gate.failed(step, error, began)
            raise
        self._gate.succeeded(step)
        return answer

    async def _embed(self, texts: tuple[str, ...], remaining: float) -> Embeddings:
        try:
            made = await self._embedder.embed_async(texts, remaining)
            return replace(made, vectors=checked_rows(made.vectors, len(texts)))
        except NearhitError:
            raise
        except Exception as error:  # the port may be implemented by the caller, who may raise anything
            raise EmbedderUnavailableError(f"{self._embedder.name} raised {type(error).__name__}") from error

    async def _compare(self, step: Compare, remaining: float) -> list[Said]:
        judge, end = self._judge, time.monotonic() + min(step.seconds, remaining)
        assert judge is not None  # noqa: S101 - only a cache with a judge has flows that ask one

        async def one(pair: tuple[str, str]) -> Said:
            left = end - time.monotonic()
            if left <= 0:
                return JudgeUnavailableError("no time is left to ask the judge")
            try:
                return await judge.judge_async(*pair, left)
            except (UnavailableError, ContractError) as error:
                return error

        return await self._calls.each(one, step.pairs, _JUDGED_AT_ONCE)
