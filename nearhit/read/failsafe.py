"""Failsafe: turns unexpected exceptions into counted misses."""

from __future__ import annotations

import inspect
import logging
import time
from typing import TYPE_CHECKING, Any

from nearhit.domain.outcome import FillOutcome, Hit, Miss, MissReason, Nearest
from nearhit.errors import ConfigError, ContractError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nearhit.domain.question import Question
    from nearhit.telemetry.metrics import Metrics

    Accept = Callable[[Hit], bool]
    AsyncAccept = Callable[[Hit], bool | Awaitable[bool]]

log = logging.getLogger("nearhit")

_QUIET_SECONDS = 60.0


class Failsafe:
    """Turns exceptions into outcomes: counts each, and logs each kind at most once a minute."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._said: dict[str, float] = {}

    def lookup_broke(self, error: Exception, question: Question | None) -> Miss:
        """Return the miss for an unexpected exception in a lookup."""
        self._metrics.count_error("lookup", error)
        self._say("lookup", error, exc_info=True)
        detail = type(error).__name__
        if question is None:
            return Miss(reason=MissReason.ERROR, detail=detail)
        return question.miss(MissReason.ERROR, detail=detail)

    def fill_broke(self, error: Exception) -> FillOutcome:
        """Return the outcome for an exception in a fill."""
        self._metrics.count_error("fill", error)
        self._metrics.fills[FillOutcome.REFUSED].inc()
        self._say("fill", error, exc_info=not isinstance(error, ConfigError | ContractError))
        return FillOutcome.REFUSED

    def judged(self, outcome: Hit | Miss, question: Question, accept: Callable[[Hit], Any] | None) -> Hit | Miss:
        """Return the outcome; a hit that ``accept`` refuses becomes a miss.

        An asynchronous ``accept`` cannot be awaited here, so it accepts nothing.
        """
        if accept is None or isinstance(outcome, Miss):
            return outcome
        accepted = accept(outcome)
        if not inspect.isawaitable(accepted):
            return outcome if accepted else _refused(outcome, question)
        if inspect.iscoroutine(accepted):
            accepted.close()
        error = ConfigError("accept is asynchronous: AsyncSemanticCache awaits it, SemanticCache cannot")
        self._metrics.count_error("lookup", error)
        self._say("lookup", error, exc_info=False)
        return _refused(outcome, question, str(error))

    async def judged_async(
        self, outcome: Hit | Miss, question: Question, accept: Callable[[Hit], Any] | None
    ) -> Hit | Miss:
        """Return what ``judged`` returns; awaits an asynchronous ``accept``."""
        if accept is None or isinstance(outcome, Miss):
            return outcome
        accepted = accept(outcome)
        if inspect.isawaitable(accepted):
            accepted = await accepted
        return outcome if accepted else _refused(outcome, question)

    def finish(self, outcome: Hit | Miss, started: float) -> Hit | Miss:
        """Count a lookup and return its outcome."""
        outcome.stages["total"] = time.monotonic() - started
        self._metrics.count_lookup(outcome)
        return outcome

    def _say(self, action: str, error: Exception, *, exc_info: bool) -> None:
        kind = f"{action}:{type(error).__name__}"
        now = time.monotonic()
        if now - self._said.get(kind, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._said[kind] = now
            log.error("%s failed: %s", action, error, exc_info=exc_info, extra={"action": action})


def _refused(hit: Hit, question: Question, detail: str = "") -> Miss:
    nearest = Nearest(hit.cached_prompt, hit.similarity)
    return question.miss(MissReason.REFUSED, nearest=nearest, detail=detail, threshold=hit.threshold, stages=hit.stages)
