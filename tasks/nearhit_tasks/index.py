"""Index: the tasks that work on what is stored, each a door to the library."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from nearhit.admin.invalidate import TASK_INVALIDATE, Selection
from nearhit.write.wakeup import queue_name
from nearhit_tasks.base_task import NearhitTask, TaskRuntime


@shared_task(name=TASK_INVALIDATE, bind=True, base=NearhitTask)  # type: ignore[untyped-decorator]  # Celery has no types
def invalidate(self: NearhitTask, selection: dict[str, Any], cursor: str = "0") -> int:  # noqa: D417 - Celery gives self
    """Remove entries for a while, and let another task go on where this one ends. Safe to run twice.

    Args:
        selection: as ``Selection.to_message`` gives it: digests and times, never a prompt.
        cursor: where the task before has ended.
    """

    def step(runtime: TaskRuntime) -> int:
        done = runtime.invalidate(Selection.from_message(selection), cursor)
        if not done.finished:
            rest = {"selection": selection, "cursor": done.cursor}
            self.apply_async(kwargs=rest, queue=queue_name(runtime.metrics.namespace, "bulk"))
        return done.removed

    return self.work(step, kept=[selection])
