"""Consumer: how a worker refuses a Celery message that it may not or cannot read, without showing what is in it."""

from __future__ import annotations

import logging
from typing import Any

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer

log = logging.getLogger("nearhit")

REASON = "refused_message"
"""The reason of the dead letters that such messages become."""


class QuietConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Celery's consumer, which logs the whole body of a message that it refuses: prompts and answers, that is.

    This one makes a dead letter of it, counts it, logs its content type and size, and goes on.
    """

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Refuse a message whose body cannot be decoded."""
        self._refuse(message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's
        """Refuse a message of a content type that is not allowed, such as pickle, or that describes no task."""
        self._refuse(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's
        """Refuse a message that is no task."""
        self._refuse(message, ValueError("the message is no task"))

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's
        """Refuse a task that nobody here knows."""
        self._refuse(message, exc)

    def _refuse(self, message: Any, error: Exception) -> None:
        raw = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        kind = str(message.content_type)[:80]
        name = str((message.headers or {}).get("task", ""))[:80]
        detail = f"{type(error).__name__}: content type {kind}, task {name!r}, {len(raw)} bytes"
        log.error("message refused", extra={"action": "refuse", "kind": kind, "bytes": len(raw)})
        self.app.nearhit.refuse(raw, REASON, detail)
        message.reject_log_error(get_logger(__name__), self.connection_errors)
