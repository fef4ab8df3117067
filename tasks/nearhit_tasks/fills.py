"""Fills: the tasks of the write path, each a door to the library."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from nearhit.write.wakeup import TASK_DRAIN, TASK_FILL, TASK_FILL_MANY
from nearhit_tasks.base_task import NearhitTask


@shared_task(name=TASK_DRAIN, bind=True, base=NearhitTask)  # type: ignore[untyped-decorator]  # Celery has no types
def drain(self: NearhitTask, lane: str = "interactive") -> int:
    """Empty a lane of the fill log; return how many fills were stored. Safe to run twice and at once."""
    return self.work(lambda runtime: runtime.drain(lane))


@shared_task(name=TASK_FILL, bind=True, base=NearhitTask)  # type: ignore[untyped-decorator]  # Celery has no types
def fill(self: NearhitTask, row: dict[str, Any]) -> int:  # noqa: D417 - Celery gives self
    """Put one answer into the log, for clients that enqueue with Celery. Safe to run twice.

    Args:
        row: ``prompt`` and ``answer``; and, where wanted, ``scope`` (or ``scope_digest`` with ``tenant_digest``, as
            an export has them), ``ttl_seconds``, ``fresh_seconds``, ``lane``, ``usage`` as ``{"prompt_tokens",
            "completion_tokens", "cost_dollars", "model"}``.
    """
    return self.work(lambda runtime: runtime.accept([row]), kept=[row])


@shared_task(name=TASK_FILL_MANY, bind=True, base=NearhitTask)  # type: ignore[untyped-decorator]  # Celery has no types
def fill_many(self: NearhitTask, rows: list[dict[str, Any]]) -> int:
    """Put many answers into the log, each as for ``nearhit.fill``; return how many it took. Safe to run twice."""
    return self.work(lambda runtime: runtime.accept(rows), kept=[rows])
