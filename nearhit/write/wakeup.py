"""Wake-up: one small Celery message that says a lane of the fill log has work.

It carries no prompt, answer or vector, and losing it costs nothing: a worker's timer looks at the log, too. The message
is published by task name from a thread of its own, so that neither Celery's import nor a slow broker is ever on a
caller's path.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from nearhit.resilience.background import EachItem
from nearhit.resilience.per_process import PerProcess
from nearhit.write.broker_url import options_of

if TYPE_CHECKING:
    from nearhit.telemetry.metrics import Metrics

TASK_DRAIN = "nearhit.drain"
TASK_FILL = "nearhit.fill"
TASK_FILL_MANY = "nearhit.fill_many"

log = logging.getLogger("nearhit")


WAKE_UP_SECONDS = 60.0
"""How long a wake-up is worth delivering: a broker that was down for long must not flood the workers afterwards."""


_MOST_WAITING = 16


def queue_name(namespace: str, lane: str) -> str:
    """Return the Celery queue of a namespace's lane."""
    return f"nearhit-{namespace}-{lane}"


class WakeUp(Protocol):
    """Tells a worker that a lane has work."""

    def notify(self, lane: str) -> None:
        """Wake a worker; returns at once and never raises."""

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Stop the background thread, and wait for its end, not longer than the timeout."""

    def end(self) -> None:
        """Stop the background thread without waiting for it."""


class NoWakeUp:
    """Wakes nobody: the workers' timers find the work."""

    def notify(self, lane: str) -> None:
        """Do nothing."""

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class CeleryWakeUp(EachItem[str]):
    """Publishes wake-ups to a Celery broker from a daemon thread.

    Args:
        broker_url: kombu url.
        namespace: whose log it is.
        metrics: where outcomes are counted.
    """

    def __init__(self, broker_url: str, namespace: str, metrics: Metrics) -> None:
        self._url = broker_url
        self._namespace = namespace
        self._sent = metrics.wakeups
        self._sent.start(("sent", "failed", "skipped"))
        self._app = PerProcess(self._make_app)
        super().__init__("nearhit-wakeup", _MOST_WAITING)

    def notify(self, lane: str) -> None:
        """Hand a wake-up to the thread; when it is behind, the one it has yet to send stands for this one."""
        if not self._thread.put(lane):
            self._sent["skipped"].inc()

    def handle(self, item: str) -> None:
        """Send the wake-up of a lane."""
        try:
            self._app.get().send_task(
                TASK_DRAIN,
                kwargs={"lane": item},
                queue=queue_name(self._namespace, item),
                retry=False,
                ignore_result=True,
                expires=WAKE_UP_SECONDS,  # an old one says nothing that the workers' timers have not seen
                argsrepr="-",
                kwargsrepr="-",
            )
        except Exception as error:  # noqa: BLE001 - any broker library's error; the workers' timers find the work
            self._sent["failed"].inc()
            log.debug("wake-up failed", extra={"action": "wakeup", "kind": type(error).__name__})
        else:
            self._sent["sent"].inc()

    def _make_app(self) -> Any:
        from celery import Celery  # noqa: PLC0415 - an application without a queue never pays for Celery

        app = Celery("nearhit-wakeup", broker=self._url, set_as_current=False)
        app.conf.update(
            broker_transport_options={**options_of(self._url), "socket_timeout": 2.0, "socket_connect_timeout": 2.0},
            broker_connection_timeout=2.0,
            task_protocol=2,
        )
        return app
