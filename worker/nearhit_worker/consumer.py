"""Consumer: which Celery messages a worker takes, and how it refuses others without logging their content."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery.utils.log import get_logger
from celery.worker.consumer import Consumer
from kombu.utils.json import dumps
from nearhit_tasks.base_task import REASON

from nearhit.errors import MessageError
from nearhit_worker.envelope import REFUSED_TYPE
from nearhit_worker.task_call import check_depth, read_call

if TYPE_CHECKING:
    from collections.abc import Callable


log = logging.getLogger("nearhit")

PAUSE_SECONDS = 1.0
"""How long the consumer rests when the log does not take a dead letter; the message goes back to its queue then."""

_FOREIGN = "celery."
"""How the tasks begin that Celery brings itself. Nothing here needs them, and one of them calls itself forever."""


class QuietConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Celery's consumer, behind a check of each message.

    Celery's own ends the worker over a message whose parts have other types than it expects, and logs the whole body of
    one that it refuses: prompts and answers, that is. This one makes a dead letter of it, counts it, logs its content
    type and size, and continues.
    """

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Return what is called with each message."""
        take = super().create_task_handler(*args, **kwargs)
        outages = (*self.connection_errors, *self.channel_errors)

        def on_message(message: Any) -> None:
            try:
                self._check(message)
                take(message)
            except outages:
                raise  # Celery connects again
            except Exception as error:  # noqa: BLE001 - what no message may do is to end the worker
                if not message.acknowledged:
                    self._refuse(message, error)

        return on_message

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Refuse a message whose body cannot be decoded."""
        self._refuse(message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's
        """Refuse a message of a content type that is not allowed, such as pickle, or that describes no task."""
        self._refuse(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's
        """Refuse a message that is no task."""
        self._refuse(message, MessageError("the message is no task"))

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's
        """Refuse an unknown task."""
        self._refuse(message, exc)

    def _check(self, message: Any) -> None:
        """Check a message, and leave of it what the tasks use.

        Raises:
            MessageError: it is no call of a task that is known here.
        """
        if message.content_type == REFUSED_TYPE:
            raise MessageError(str(message.headers.get("refusal"))[:200])
        payload = message.decode()
        check_depth(payload, message.body)
        call = read_call(message.headers, payload, datetime.now(UTC))
        task = self.app.tasks.get(call.task)
        if task is None or call.task.startswith(_FOREIGN):
            raise MessageError("nobody here knows the task")
        try:
            task.__header__(*call.args, **call.kwargs)
        except TypeError as error:
            raise MessageError(f"the task takes other arguments: {error}") from error
        message.headers = call.headers
        if call.rewritten:
            message.body, message.content_type, message.content_encoding = dumps(call.body), "application/json", "utf-8"
        message._decoded_cache = call.body  # noqa: SLF001 - so that kombu does not decode it once more

    def _refuse(self, message: Any, error: Exception) -> None:
        body = getattr(message, "body", b"")
        raw = bytes(body) if isinstance(body, bytes | bytearray | memoryview) else str(body).encode(errors="replace")
        kind = str(getattr(message, "content_type", None))[:80]
        headers = getattr(message, "headers", None)
        name = str(headers.get("task", ""))[:80] if isinstance(headers, dict) else ""
        why = str(error) if isinstance(error, MessageError) else type(error).__name__
        detail = f"{why[:250]}: content type {kind}, task {name!r}, {len(raw)} bytes"
        log.error("message refused", extra={"action": "refuse", "kind": kind, "bytes": len(raw)})
        if self.app.nearhit.refuse(raw, REASON, detail):
            message.reject_log_error(get_logger(__name__), self.connection_errors)
        else:
            time.sleep(PAUSE_SECONDS)
            message.requeue()
