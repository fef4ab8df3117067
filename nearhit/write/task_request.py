"""Task request: asks a worker for work on the index, by task name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.write.broker_url import options_of
from nearhit.write.wakeup import queue_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 5.0


def send(broker_url: str, namespace: str, task: str, arguments: Mapping[str, Any]) -> None:
    """Send a task to the workers of a namespace, behind their bulk work. Blocks until the broker has it.

    Raises:
        ConfigError: there is no broker.
        StoreUnavailableError: the broker does not take it.
    """
    if not broker_url:
        raise ConfigError("there is no Celery broker: set NEARHIT_BROKER_URL, or NEARHIT_LOG_URL to a single server")
    from celery import Celery  # noqa: PLC0415 - an application without a queue never pays for Celery

    app = Celery("nearhit-request", broker=broker_url, set_as_current=False)
    app.conf.update(
        broker_transport_options={
            **options_of(broker_url),
            "socket_timeout": _SECONDS,
            "socket_connect_timeout": _SECONDS,
        },
        broker_connection_timeout=_SECONDS,
    )
    try:
        app.send_task(
            task, kwargs=dict(arguments), queue=queue_name(namespace, "bulk"), retry=False, ignore_result=True
        )
    except Exception as error:  # any broker library's own
        raise StoreUnavailableError(f"the broker does not take {task}: {type(error).__name__}: {error}") from error
    finally:
        app.close()
