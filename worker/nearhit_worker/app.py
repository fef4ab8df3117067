"""App: the Celery application of a worker, and what its process starts and stops.

Run it with ``nearhit worker``, or with ``celery -A nearhit_worker.app worker -P threads`` for Celery's own options.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery, bootsteps
from celery.exceptions import WorkerShutdown
from celery.signals import worker_process_init, worker_process_shutdown, worker_shutdown, worker_shutting_down
from kombu import Connection, Exchange, Queue

from nearhit.errors import ConfigError
from nearhit.resilience.per_process import PerProcess
from nearhit.settings import Settings
from nearhit.telemetry.metrics import Metrics
from nearhit.write.broker_url import broker_of, options_of
from nearhit.write.wakeup import CeleryWakeUp, queue_name
from nearhit_worker.quiet_loggers import keep_texts_out
from nearhit_worker.runtime import WORK_LANES, Runtime, report
from nearhit_worker.telemetry import TelemetryServer
from nearhit_worker.ticker import Ticker
from nearhit_worker.transport import GuardedAMQP

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("nearhit")

EXIT_SECONDS = 45.0
"""How long a worker that was told to stop may take beyond an embedding call; then it ends whatever hangs."""

_FAREWELL_TURNS = 20
"""How many times a tenth of a second a prefork pool's child waits for its parent to read its last result.

In one warm shutdown of ten under load the parent reads no more, and billiard's own limit is 300 turns (4.3). A result
that is lost leaves its message to be delivered again, which is safe.
"""

VISIBILITY_SECONDS = 60
"""How long a killed worker's Celery message waits for its next delivery, where the broker is a Valkey server."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of every other command."""


def runtime_of(settings: Settings) -> Runtime:
    """Return the runtime that ``settings`` describe, which wakes other workers through their broker."""
    metrics = Metrics(namespace=settings.namespace)
    return Runtime(settings, metrics, wakeup=CeleryWakeUp(_broker_of(settings), settings.namespace, metrics))


class Process:
    """One worker: its runtime, its threads and its HTTP endpoint, made when they are first needed.

    Under the prefork pool each child has a runtime and threads of its own, and does all the work; the parent, which
    must load no model (its threads would not survive the next fork), looks on and answers for all.

    Args:
        settings: everything that can be set.
        make: makes the runtime of each process; ``None`` is the one that the settings describe.
    """

    def __init__(self, settings: Settings, make: Callable[[Settings], Runtime] | None = None) -> None:
        self.settings = settings
        self.main_pid = os.getpid()
        self.exit_code = 0
        self.interrupted = False
        self._runtime = PerProcess(partial(make or runtime_of, settings))
        self._ticker: Ticker | None = None
        self._telemetry: TelemetryServer | None = None

    @property
    def runtime(self) -> Runtime:
        """The write path of this process."""
        return self._runtime.get()

    @property
    def exit_seconds(self) -> float:
        """How long a warm shutdown may take: an embedding call, the round trips around it, and a moment."""
        return self.settings.embed_timeout_ms / 1000 + EXIT_SECONDS

    @property
    def metrics_port(self) -> int:
        """The port of /metrics; 0 before ``start``."""
        return self._telemetry.port if self._telemetry is not None else 0

    def start(self, *, forks: bool) -> None:
        """Start the threads and the endpoint.

        Args:
            forks: the pool's children do the work.
        """
        runtime, settings = self.runtime, self.settings
        self._telemetry = TelemetryServer(
            runtime.metrics.registry, self.health, settings.metrics_host, settings.metrics_port
        )
        self._ticker = Ticker(runtime, Ticker.watching(runtime) if forks else Ticker.all_of(runtime))
        self._ticker.start()
        runtime.metrics.at_scrape(self._show_health)
        self._telemetry.start()
        host = f"[{settings.metrics_host}]" if ":" in settings.metrics_host else settings.metrics_host
        log.info(
            "ready: namespace %s, engine %s, model %s, queues %s, http://%s:%d/metrics",
            *(settings.namespace, settings.engine, settings.model, queue_name(settings.namespace, "*")),
            *(host, self._telemetry.port),
            extra={"action": "ready"},
        )

    def start_child(self) -> None:
        """Start the threads of a pool's child."""
        runtime = self.runtime
        self._ticker = Ticker(runtime, Ticker.working(runtime))
        self._ticker.start()

    def stop_taking(self) -> None:
        """Let the batches in progress be the last ones, so that the process ends in bounded time."""
        if self._ticker is not None:  # else the signal came in the middle of the start, and nothing was taken yet
            self.runtime.stop_taking()

    def stop(self) -> None:
        """Stop what ``start`` or ``start_child`` started."""
        self.runtime.stop_taking()
        if self._ticker is not None:
            self._ticker.stop()
        if self._telemetry is not None and os.getpid() == self.main_pid:
            self._telemetry.stop()
        self.runtime.close()

    def refuse(self, raw: bytes, reason: str, detail: str) -> bool:
        """Make a dead letter of a message that is no fill; return whether the log has it."""
        runtime = self.runtime
        try:
            runtime.refuse(raw, reason, detail)
        except Exception as error:  # noqa: BLE001 - of a message that is no fill nothing may end the consumer
            report("refuse", runtime, error)
            return False
        return True

    def _show_health(self) -> None:
        state, metrics = self.health(), self.runtime.metrics
        metrics.worker_live.set(state["live"])
        metrics.worker_ready.set(state["ready"])
        metrics.worker_stuck.set(state["seconds_without_progress"])

    def health(self) -> dict[str, Any]:
        """Return whether the process is live and ready. Progress counts, not being connected.

        A worker whose broker was restarted can be connected, idle and deaf at once. One that looks at no lane to its
        end and finishes no batch is stuck whatever the reason, and is better started anew.
        """
        alive = self._ticker is not None and self._ticker.alive
        moving = not self.runtime.stuck
        return {
            "live": alive and moving,
            "ready": alive and moving and not self.runtime.last_error,
            "seconds_without_progress": round(self.runtime.stuck_seconds, 1),
            "last_error": self.runtime.last_error,
        }


def make_app(settings: Settings) -> Celery:
    """Return the Celery application for ``settings``; connects to nothing."""
    broker = _broker_of(settings)
    include = ["nearhit_tasks.fills", "nearhit_tasks.index"]
    app = Celery("nearhit", broker=broker, include=include, amqp=GuardedAMQP, set_as_current=False)
    names = [queue_name(settings.namespace, lane) for lane in WORK_LANES]
    app.conf.update(
        # each as a client declares it that knows but the name
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in names],
        task_default_queue=queue_name(settings.namespace, "interactive"),
        # Only JSON is read. A pickled message from anybody who can reach the broker would run code here.
        # test_a_pickled_message_is_refused_and_the_worker_lives
        task_serializer="json",
        accept_content=["json"],
        worker_consumer="nearhit_worker.consumer:QuietConsumer",
        result_backend=None,
        task_ignore_result=True,
        # A task is acknowledged after it ran, so that a killed worker's message is delivered again: nearhit.fill of
        # another program stands nowhere else until the task has put it into the log.
        # test_a_task_of_a_killed_worker_is_delivered_again
        task_acks_late=True,
        # With acks late alone, the message of a killed prefork child is acknowledged as a failure: lost 5 times of 5
        # (Celery 5.7)
        task_reject_on_worker_lost=True,
        # One message a thread: a killed worker holds few that then wait for the visibility timeout.
        worker_prefetch_multiplier=1,
        # Remote control is one more consumer that a restarted broker breaks: with Celery's other defaults a worker of
        # threads then exits (5.7). With gossip and mingle off, as here, it lived in our tests; nothing here needs it.
        worker_enable_remote_control=False,
        # Events cost a third of the throughput, and the metrics say more.
        worker_send_task_events=False,
        # The broker may come after the worker, and may stay away for as long as it takes.
        # test_a_worker_waits_for_a_broker_that_is_not_there_yet
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A Valkey broker whose disk is full, or that has become a replica, answers every command with an error.
        # Celery's default is to end then (5.7). test_a_worker_outlives_a_broker_that_refuses_everything
        broker_channel_error_retry=True,
        # Tasks that run while the connection is lost continue: each is safe to run twice, and half a batch is not.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport_options=_transport_options(broker),
        # A warm shutdown may take as long as the batches in progress, and no longer; then the process ends anyway, and
        # what it had in progress is claimed by others.
        # test_a_worker_that_is_told_to_stop_finishes_its_batch_and_no_more
        worker_soft_shutdown_timeout=0,
        worker_hijack_root_logger=False,
        worker_concurrency=settings.concurrency,
    )
    keep_texts_out()
    process = Process(settings)
    app.nearhit = process
    app.steps["worker"].add(StartProcess)
    app.nearhit_receivers = _Receivers(app, process)
    return app


def _broker_of(settings: Settings) -> str:
    """Return the kombu url of the broker. A log on a cluster has none: the timers then find all work."""
    url = broker_of(settings.broker_url, settings.log_server()) or "memory://"
    try:
        Connection(url).get_transport_cls()
    except (KeyError, ImportError) as error:  # what kombu calls them; of the url they hold the scheme alone
        raise ConfigError(f"broker_url: Celery cannot use it: {error.args[0]}") from None
    return url


def _transport_options(broker: str) -> dict[str, Any]:
    if not broker.startswith(("redis", "rediss", "sentinel")):
        return {}  # RabbitMQ takes none of these, and gives a dead worker's messages back at once
    return {
        # How long a killed worker's message waits before it is delivered again, and how often that is looked at; stock:
        # an hour, and a sweep that can add minutes. No task runs that long: a drain ends after DRAIN_SECONDS.
        # test_a_task_of_a_killed_worker_is_delivered_again
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        **options_of(broker),
        # Without these a publish or a poll on a hung broker blocks for good.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        # A broker that hangs, or a connection that died unseen, is noticed within twice this time; stock: 50 s.
        "health_check_interval": 5,
    }


class StartProcess(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Starts the timers and the endpoint once the pool has forked, and before Celery's consumer waits for its broker.

    The log may well be there while the broker is not: the timers find its work.
    """

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Start them, or end the worker."""
        try:
            parent.app.nearhit.start(forks="prefork" in type(parent.pool).__module__)
        except ConfigError as error:  # a port that was free a moment ago
            log.error("the worker cannot start: %s", error, extra={"action": "start"})  # noqa: TRY400 - one line says it
            raise WorkerShutdown(2) from error
        except Exception as error:  # Celery would end, too, but without a word of ours
            log.exception("the worker cannot start", extra={"action": "start"})
            raise WorkerShutdown(1) from error


class _Receivers:
    """What the process does at Celery's signals; a signal holds its receivers weakly, so that the app keeps this."""

    def __init__(self, app: Celery, process: Process) -> None:
        self._app = app
        self._process = process
        worker_shutting_down.connect(self.shutting_down)
        worker_shutdown.connect(self.shut_down)
        worker_process_init.connect(self.child_started)
        worker_process_shutdown.connect(self.child_ends)

    @property
    def _in_child(self) -> bool:
        return os.getpid() != self._process.main_pid

    def shutting_down(self, sig: str = "", **_: Any) -> None:
        if not self._in_child:
            self._process.interrupted = sig == "SIGINT"
            self._process.stop_taking()
            threading.Thread(target=self._leave_in_time, name="nearhit-exit", daemon=True).start()

    def _leave_in_time(self) -> None:
        """End the process when a task or the pool does not end by itself: what is in progress is claimed by others."""
        time.sleep(self._process.exit_seconds)
        log.error("the worker did not stop in time", extra={"action": "stop"})
        os._exit(1)

    def shut_down(self, sender: Any = None, **_: Any) -> None:
        if getattr(sender, "app", None) is self._app:
            code = getattr(sender, "exitcode", 0) or 0  # Celery's worker_main keeps it for itself (5.7)
            self._process.exit_code = code if isinstance(code, int) else 1
            if self._process.interrupted:  # Celery ends with 1 then, as where it fails
                self._process.exit_code = INTERRUPTED
            self._process.stop()

    def child_started(self, **_: Any) -> None:
        if self._in_child:
            from billiard import pool  # noqa: PLC0415 - the children of a prefork pool alone have it at work

            pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = _FAREWELL_TURNS
            self._process.start_child()

    def child_ends(self, **_: Any) -> None:
        if self._in_child:
            self._process.stop()


def __getattr__(name: str) -> Any:
    """Make ``app`` for ``celery -A nearhit_worker.app``; importing this module alone reads no environment."""
    if name == "app":
        return make_app(Settings.from_env())
    raise AttributeError(name)
