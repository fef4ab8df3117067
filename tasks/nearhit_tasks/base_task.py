"""Base task: gives a task its process's runtime, and turns errors of ours into retries or dead letters."""

from __future__ import annotations

import json
import logging
import random
from typing import TYPE_CHECKING, Any, Protocol, cast

from celery import Task
from celery.exceptions import Reject

from nearhit.errors import ConfigError, ContractError, UnavailableError
from nearhit.resilience.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.admin.invalidate import Invalidated, Selection
    from nearhit.telemetry.metrics import Metrics

log = logging.getLogger("nearhit")

REASON = "refused_message"
"""The reason of the dead letter that a Celery message becomes which cannot be read, or whose task fails for good."""

LONGEST_WAIT_SECONDS = 30.0
"""How long a task waits for its next try at most: well within the time after which a Valkey broker delivers a message
again that was not acknowledged, since each delivery would be one more task that tries."""


class TaskRuntime(Protocol):
    """The write path of a worker process, as tasks see it."""

    metrics: Metrics

    def drain(self, lane: str) -> int:
        """Empty a lane; return how many fills were stored."""

    def accept(self, rows: Any) -> int:
        """Add rows to the log; return how many it took."""

    def refuse(self, raw: bytes, reason: str, detail: str) -> None:
        """Make a dead letter of what is no fill."""

    def invalidate(self, selection: Selection, cursor: str) -> Invalidated:
        """Remove entries for a while; return how far it has come."""


class NearhitTask(Task):  # type: ignore[misc]  # Celery has no types
    """Base of all tasks."""

    abstract = True
    max_retries = None
    backoff = Backoff(ceiling_seconds=LONGEST_WAIT_SECONDS)

    def work(self, step: Callable[[Any], int], *, kept: list[Any] | None = None) -> int:
        """Run a step against the runtime of this process.

        Args:
            step: what to do; returns a count.
            kept: what is in the message and nowhere else. An outage is then retried, with backoff and jitter, and any
                other failure leaves a dead letter; ``None`` only counts both: the timer comes again by itself.

        Raises:
            celery.exceptions.Retry: a part does not answer now.
            celery.exceptions.Reject: neither does the broker; the message goes back to its queue.
        """
        runtime: TaskRuntime = self.app.nearhit.runtime
        try:
            return self._try(step, runtime, kept)
        except UnavailableError as error:
            runtime.metrics.count_error("task", error)
            if kept is not None:
                raise self._later(error) from error
        return 0

    def _try(self, step: Callable[[Any], int], runtime: TaskRuntime, kept: list[Any] | None) -> int:
        try:
            return step(runtime)
        except UnavailableError:
            raise
        except Exception as error:  # the edge of the task: Celery would acknowledge and forget
            known = isinstance(error, ContractError | ConfigError)
            runtime.metrics.count_error("task", error)
            why = str(error) if known else type(error).__name__
            bug = None if known else error
            log.error("%s failed: %s", self.name, why, exc_info=bug, extra={"action": "task"})  # noqa: TRY400
            if kept is not None:
                raw = json.dumps(kept, default=str).encode()
                runtime.refuse(raw, REASON, f"{self.name}: {why}")
        return 0

    def _later(self, error: UnavailableError) -> Exception:
        """Send the task to be tried again; return what tells Celery so."""
        chance = random.random()  # noqa: S311 - spreads retries, guards nothing
        wait = self.backoff.wait_seconds(self.request.retries + 1, chance, error.retry_after_seconds)
        try:
            return cast("Exception", self.retry(exc=error, countdown=min(wait, LONGEST_WAIT_SECONDS), throw=False))
        except Reject as refusal:  # the broker did not take it, and Celery would drop the message with it (5.7)
            return cast("Exception", Reject(refusal.reason, requeue=True))
