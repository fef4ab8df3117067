"""Runners: run flows within a deadline, one blocking and one for asyncio."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from nearhit.domain.vectors import checked_rows
from nearhit.errors import (
    BusyError,
    ContractError,
    EmbedderUnavailableError,
    JudgeUnavailableError,
    NearhitError,
    StoreUnavailableError,
    UnavailableError,
)
from nearhit.flow.ports import Judgement
from nearhit.flow.steps import Compare, Embed, Flow, Send, Step
from nearhit.resilience.loop_clock import LoopClocks

if TYPE_CHECKING:
    from nearhit.flow.ports import AsyncLink, Embedder, Embeddings, Link, PairJudge
    from nearhit.resilience.circuit_breaker import CircuitBreaker
    from nearhit.resilience.loop_clock import LoopClock
    from nearhit.telemetry.metrics import Metrics

T = TypeVar("T")

_JUDGED_AT_ONCE = 8
"""Pairs of one step that a judge is asked about at a time."""

_ERRORS: dict[str, type[UnavailableError]] = {
    "store": StoreUnavailableError,
    "embed": EmbedderUnavailableError,
    "judge": JudgeUnavailableError,
}

Said = Judgement | UnavailableError | ContractError


class Gate:
    """What both shells do around a step: breakers, the deadline, errors counted, time by stage.

    Args:
        store: the breaker of the server.
        embed: that of the embedder.
        metrics: where things are counted.
        side: ``read``, ``write`` or ``bulk``.
        judge: the breaker of the judge, where there is one.
    """

    def __init__(
        self,
        store: CircuitBreaker,
        embed: CircuitBreaker,
        metrics: Metrics,
        side: str,
        judge: CircuitBreaker | None = None,
    ) -> None:
        self._breakers = {"store": store, "embed": embed, **({"judge": judge} if judge is not None else {})}
        self._metrics = metrics
        space = metrics.namespace
        self._calls = metrics.embed_calls.labels(space, side)
        self._texts = metrics.embed_texts.labels(space, side)
        self._tokens = metrics.embed_tokens.labels(space, side)
        self._dollars = metrics.embed_dollars.labels(space, side)
        self._late = metrics.loop_lag.labels(space)
        self._open = {part: metrics.breaker.labels(space, part) for part in self._breakers}

    def enter(self, step: Step, remaining: float) -> None:
        """Refuse a step whose part is known to be down, or for which there is no time left."""
        part = _part(step)
        error = _ERRORS[part]
        if remaining <= 0:
            raise error(f"the deadline has passed before {part}")
        if not self._breakers[part].allows():
            raise error(f"the breaker of {part} is open after failures in a row")

    def succeeded(self, step: Step) -> None:
        """Close the breaker of the step's part."""
        breaker = self._breakers[_part(step)]
        if breaker.open:
            self._open[_part(step)].set(0)
        breaker.succeeded()

    def failed(self, step: Step, error: UnavailableError | ContractError) -> None:
        """Count a failure; one of availability counts against the breaker, a lack of connections does not."""
        part = _part(step)
        self._metrics.count_error(_stage(step), error)
        if isinstance(error, BusyError):
            return
        if isinstance(error, UnavailableError) or part == "judge":  # one that only talks nonsense costs time, too
            self._breakers[part].failed()
            if self._breakers[part].open:
                self._open[part].set(1)

    def came_late(self, seconds: float) -> None:
        """Count that the event loop came back late."""
        self._late.observe(seconds)

    def embedded(self, made: Embeddings) -> None:
        """Count an embedding call."""
        self._calls.inc()
        self._texts.inc(len(made.vectors))
        if made.tokens:
            self._tokens.inc(made.tokens)
            self._dollars.inc(made.cost_dollars)

    def compared(self, step: Compare, answers: list[Said]) -> list[Said]:
        """Count what a judge said and return it; one answer among errors shows that the judge is there."""
        errors = [one for one in answers if not isinstance(one, Judgement)]
        if errors and len(errors) == len(answers):
            self.failed(step, errors.pop())
        else:
            self.succeeded(step)
        for error in errors:
            self._metrics.count_error("judge", error)
        space = self._metrics.namespace
        for one in answers:
            if isinstance(one, Judgement) and one.tokens:
                self._metrics.judge_tokens.labels(space).inc(one.tokens)
                self._metrics.judge_dollars.labels(space).inc(one.cost_dollars)
        return answers


class Runner:
    """Runs flows on the calling thread.

    Args:
        link: the way to the server.
        embedder: embeds texts.
        gate: breakers and counts.
        judge: who is asked by flows of a cache with a second stage.
    """

    def __init__(self, link: Link, embedder: Embedder, gate: Gate, judge: PairJudge | None = None) -> None:
        self._link = link
        self._embedder = embedder
        self._gate = gate
        self._judge = judge

    def run(self, flow: Flow[T], seconds: float, stages: dict[str, float] | None = None) -> T:
        """Return what ``flow`` returns; whatever it waits for ends within ``seconds`` in all.

        Args:
            flow: what to run.
            seconds: its budget.
            stages: where to add the seconds spent by stage.
        """
        end = time.monotonic() + seconds
        send: Any = None
        error: UnavailableError | ContractError | None = None
        while True:
            try:
                step = flow.throw(error) if error is not None else flow.send(send)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # a flow's return value is its T
            started = time.monotonic()
            send, error = None, None
            try:
                send = self._take(step, end - started)
            except (UnavailableError, ContractError) as failure:
                error = failure
            _add(stages, step, started)

    def _take(self, step: Step, remaining: float) -> Any:
        self._gate.enter(step, remaining)
        try:
            if isinstance(step, Send):
                if step.after_seconds:
                    time.sleep(min(step.after_seconds, remaining))
                answer: Any = self._link.send(step.commands, remaining - step.after_seconds)
            elif isinstance(step, Embed):
                answer = self._embed(step.texts, remaining)
                self._gate.embedded(answer)
            else:
                return self._gate.compared(step, self._compare(step, remaining))
        except (UnavailableError, ContractError) as error:
            self._gate.failed(step, error)
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
            raise _raised(self._embedder, error) from error

    def _compare(self, step: Compare, remaining: float) -> list[Said]:
        judge, end = self._judge, time.monotonic() + min(step.seconds, remaining)
        assert judge is not None  # noqa: S101 - only a cache with a judge has flows that ask one

        def one(pair: tuple[str, str]) -> Said:
            try:
                return judge.judge(*pair, _left(end))
            except (UnavailableError, ContractError) as error:
                return error

        if len(step.pairs) == 1:
            return [one(step.pairs[0])]
        with ThreadPoolExecutor(min(_JUDGED_AT_ONCE, len(step.pairs)), "nearhit-judge") as pool:
            return list(pool.map(one, step.pairs))


class AsyncRunner:
    """Runs flows in an event loop; the twin of ``Runner``."""

    def __init__(self, link: AsyncLink, embedder: Embedder, gate: Gate, judge: PairJudge | None = None) -> None:
        self._link = link
        self._embedder = embedder
        self._gate = gate
        self._judge = judge
        self._clocks = LoopClocks(gate.came_late)

    async def run(self, flow: Flow[T], seconds: float, stages: dict[str, float] | None = None) -> T:
        """Return what ``flow`` returns, as ``Runner.run`` does, without blocking the loop.

        Time that the loop was late is not counted: see ``LoopClock``.
        """
        with self._clocks.running() as clock:
            return await self._run(flow, seconds, stages, clock)

    async def _run(self, flow: Flow[T], seconds: float, stages: dict[str, float] | None, clock: LoopClock) -> T:
        end = clock.now() + seconds
        send: Any = None
        error: UnavailableError | ContractError | None = None
        while True:
            try:
                step = flow.throw(error) if error is not None else flow.send(send)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]  # a flow's return value is its T
            started = time.monotonic()
            send, error = None, None
            try:
                send = await self._take(step, end - clock.now())
            except (UnavailableError, ContractError) as failure:
                error = failure
            _add(stages, step, started)

    async def _take(self, step: Step, remaining: float) -> Any:
        self._gate.enter(step, remaining)
        try:
            if isinstance(step, Send):
                if step.after_seconds:
                    await asyncio.sleep(min(step.after_seconds, remaining))
                answer: Any = await self._link.send(step.commands, remaining - step.after_seconds)
            elif isinstance(step, Embed):
                answer = await self._embed(step.texts, remaining)
                self._gate.embedded(answer)
            else:
                return self._gate.compared(step, await self._compare(step, remaining))
        except (UnavailableError, ContractError) as error:
            self._gate.failed(step, error)
            raise
        self._gate.succeeded(step)
        return answer

    async def _embed(self, texts: tuple[str, ...], remaining: float) -> Embeddings:
        try:
            async with self._clocks.running().timeout(remaining) as limit:
                made = await self._embedder.embed_async(texts, remaining)
            return replace(made, vectors=checked_rows(made.vectors, len(texts)))
        except NearhitError:
            raise
        except Exception as error:  # the port may be implemented by the caller, who may raise anything
            if limit.expired():
                raise EmbedderUnavailableError(f"the embedder gave nothing within {remaining:.3f} s") from error
            raise _raised(self._embedder, error) from error

    async def _compare(self, step: Compare, remaining: float) -> list[Said]:
        judge, end = self._judge, time.monotonic() + min(step.seconds, remaining)
        assert judge is not None  # noqa: S101 - only a cache with a judge has flows that ask one
        room = asyncio.Semaphore(_JUDGED_AT_ONCE)

        async def one(pair: tuple[str, str]) -> Said:
            try:
                async with room:
                    return await judge.judge_async(*pair, _left(end))
            except (UnavailableError, ContractError) as error:
                return error

        return list(await asyncio.gather(*map(one, step.pairs)))


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise JudgeUnavailableError("no time is left to ask the judge")
    return left


def _raised(embedder: Embedder, error: Exception) -> EmbedderUnavailableError:
    return EmbedderUnavailableError(f"{embedder.name} raised {type(error).__name__}")


def _part(step: Step) -> str:
    return "store" if isinstance(step, Send) else _stage(step)


def _stage(step: Step) -> str:
    if isinstance(step, Send):
        return step.stage
    return "embed" if isinstance(step, Embed) else "judge"


def _add(stages: dict[str, float] | None, step: Step, started: float) -> None:
    if stages is not None:
        stage = _stage(step)
        stages[stage] = stages.get(stage, 0.0) + time.monotonic() - started
