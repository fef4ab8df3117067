"""Door: the base task. Gives a task its process's runtime, and turns errors of ours into retries or log lines."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Protocol

from celery import Task

from nearhit.backoff import Backoff
from nearhit.errors import ConfigError, ContractError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.index.invalidate import Invalidated, Selection
    from nearhit.metrics import Metrics

log = logging.getLogger("nearhit")


class Runtime(Protocol):
    """The write path of a worker process, as tasks see it."""

    metrics: Metrics

    def drain(self, lane: str) -> int:
        """Empty a lane; return how many fills were stored."""

    def accept(self, rows: list[dict[str, Any]]) -> int:
        """Add rows to the log; return how many it took."""

    def invalidate(self, selection: Selection, cursor: str) -> Invalidated:
        """Remove entries for a while; return how far it has come."""


class NearhitTask(Task):  # type: ignore[misc]  # Celery has no types
    """Base of all tasks."""

    abstract = True
    max_retries = None
    backoff = Backoff()

    def work(self, step: Callable[[Any], int], *, again: bool) -> int:
        """Run a step against the runtime of this process.

        Args:
            step: what to do; returns a count.
            again: an outage is retried, with backoff and jitter; otherwise it is only counted.

        Raises:
            celery.exceptions.Retry: a part does not answer now.
        """
        runtime: Runtime = self.app.nearhit.runtime
        try:
            return step(runtime)
        except UnavailableError as error:
            runtime.metrics.count_error("task", error)
            if again:
                chance = random.random()  # noqa: S311 - spreads retries, guards nothing
                wait = self.backoff.wait_seconds(self.request.retries + 1, chance, error.retry_after_seconds)
                raise self.retry(exc=error, countdown=wait) from error
        except (ContractError, ConfigError) as error:
            runtime.metrics.count_error("task", error)
            log.error("%s failed: %s", self.name, error, extra={"action": "task"})  # noqa: TRY400 - the text says it all
        return 0
