"""Gate: what happens around each step of a flow: circuit breakers, deadline, errors and time counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nearhit.errors import (
    BusyError,
    ContractError,
    EmbedderBusyError,
    EmbedderUnavailableError,
    JudgeUnavailableError,
    StoreUnavailableError,
    UnavailableError,
)
from nearhit.flow.ports import Judgement
from nearhit.flow.steps import Compare, Embed, Send, Step

if TYPE_CHECKING:
    from nearhit.flow.ports import Embeddings
    from nearhit.resilience.circuit_breaker import CircuitBreaker
    from nearhit.telemetry.metrics import Metrics

_ERRORS: dict[str, type[UnavailableError]] = {
    "store": StoreUnavailableError,
    "embed": EmbedderUnavailableError,
    "judge": JudgeUnavailableError,
}

Said = Judgement | UnavailableError | ContractError


class Gate:
    """What both runners do around a step: breakers, the deadline, errors counted.

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
        self._side = side
        metrics.breaker.start(self._breakers)
        metrics.loop_lag.start([()])
        for series in (metrics.embed_calls, metrics.embed_texts, metrics.embed_tokens, metrics.embed_dollars):
            series.start([side])

    def enter(self, step: Step, remaining: float) -> float:
        """Refuse a step whose part is known to be down, or for which there is no time left; return when it began.

        A deadline that has passed before a part was asked says nothing about that part.
        """
        part = _part(step)
        error = _ERRORS[part]
        if remaining <= 0:
            raise (error if part == "judge" else BusyError)(f"the deadline has passed before {part}")
        if not self._breakers[part].allows():
            raise error(f"the breaker of {part} is open after failures in a row")
        return time.monotonic()

    def succeeded(self, step: Step) -> None:
        """Close the breaker of the step's part."""
        breaker = self._breakers[_part(step)]
        if breaker.open:
            self._metrics.breaker[_part(step)].set(0)
        breaker.succeeded()

    def failed(self, step: Step, error: UnavailableError | ContractError, began: float | None = None) -> None:
        """Count a failure; one of availability counts against the breaker, a lack of connections or calls does not.

        Args:
            step: what failed.
            error: how.
            began: when it began; see ``CircuitBreaker.failed``.
        """
        part = _part(step)
        self._metrics.count_error(_stage(step), error)
        if isinstance(error, BusyError | EmbedderBusyError):
            return
        if isinstance(error, UnavailableError) or part == "judge":  # one that only talks nonsense costs time, too
            self._breakers[part].failed(began)
            if self._breakers[part].open:
                self._metrics.breaker[part].set(1)

    def came_late(self, seconds: float) -> None:
        """Count that the event loop came back late."""
        self._metrics.loop_lag.observe(seconds)

    def embedded(self, made: Embeddings) -> None:
        """Count an answer, and the embedding call that gave it unless another answer counts it."""
        self._metrics.count_embedding(self._side, made.calls, len(made.vectors), made.tokens, made.cost_dollars)

    def compared(self, step: Compare, answers: list[Said]) -> list[Said]:
        """Count what a judge said and return it; one answer among errors shows that the judge is there."""
        errors = [one for one in answers if not isinstance(one, Judgement)]
        if errors and len(errors) == len(answers):
            self.failed(step, errors.pop())
        else:
            self.succeeded(step)
        for error in errors:
            self._metrics.count_error("judge", error)
        for one in answers:
            if isinstance(one, Judgement) and one.tokens:
                self._metrics.judge_tokens.inc(one.tokens)
                self._metrics.judge_dollars.inc(one.cost_dollars)
        return answers


def _part(step: Step) -> str:
    return "store" if isinstance(step, Send) else _stage(step)


def _stage(step: Step) -> str:
    if isinstance(step, Send):
        return step.stage
    return "embed" if isinstance(step, Embed) else "judge"


def add_time(stages: dict[str, float] | None, step: Step, started: float) -> None:
    """Add the time since ``started`` to the stage of a step."""
    if stages is not None:
        stage = _stage(step)
        stages[stage] = stages.get(stage, 0.0) + time.monotonic() - started
