"""Up: the command that runs a whole stack in the foreground."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import Child, ValkeyServer, Worker, free_port, is_free

from nearhit.cli import exits, options
from nearhit.cli.command import INT, Arguments, command, option
from nearhit.cli.screen import Screen
from nearhit.cli.servers import Servers
from nearhit.embedding.minilm.folder import find_model_folder
from nearhit.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit.settings import Settings

EXAMPLES = """
nearhit up
nearhit up --data ~/nearhit-data --port 6380
nearhit up --module /usr/lib/valkey/libsearch.so
NEARHIT_URL=valkey://cache:6379 nearhit up
"""
_PORT = 6379
_READY_SECONDS = 60.0
_WATCH_SECONDS = 0.25
_PORT_HELP = f"port of the server; {_PORT}, or a free one where that is taken; 0 takes any free one"

module_option = option(
    "--module",
    metavar="PATH",
    default="",
    envvar="NEARHIT_SEARCH_MODULE",
    help="search module for the server (NEARHIT_SEARCH_MODULE); without one the local engine searches",
)


@command(EXAMPLES)
@option("--data", metavar="DIR", help="folder that keeps the data; without it, a temporary one")
@option("--port", metavar="PORT", type=INT, help=_PORT_HELP)
@module_option
@options.json_output
@options.settings(*options.ALL)
def run(arguments: Arguments, screen: Screen) -> int:
    """Run a stack in the foreground until Ctrl-C or SIGTERM, which stop all of it.

    Where no server is configured it starts a valkey-server of its own (cache, fill log and broker in one, on this
    machine only) and a worker; where one is, a worker for it. When a part ends by itself, all stop, and the
    last lines of its log are shown. Exit code 130 after Ctrl-C, 0 after SIGTERM, 1 when a part has ended by itself.
    """
    settings = options.settings_of(arguments)
    check_parts(settings, arguments.module)
    stop, server = StopRequest(), None
    with on_signals(stop.take, signal.SIGINT, signal.SIGTERM, signal.SIGHUP), ExitStack() as stack:
        if options.server_is_configured(arguments):
            with Servers(settings) as servers:
                servers.cache.ping()
                servers.log.ping()
        else:
            server = own_server(arguments, stack)
            settings = replace(settings, url=server.url)
        running = Running(settings, server, own_worker(settings, arguments.data, stack), keeps=bool(arguments.data))
        try:
            running.start(stop)
            if not stop.is_set():
                running.show(screen, arguments.module)
            while not stop.wait(_WATCH_SECONDS):
                running.check()
        except UnavailableError as error:
            screen.error(str(error))
            return exits.MISS
        screen.line("stopping…")
    screen.line("stopped")
    return exits.INTERRUPTED if stop.by == signal.SIGINT else exits.OK


def check_parts(settings: Settings, module: str) -> None:
    """Say what is missing on this machine before anything is started."""
    if settings.model == options.THRESHOLD_MODEL:
        find_model_folder()
    if module and not Path(module).is_file():
        raise ConfigError(f"--module: there is no file {module!r}")


class StopRequest(threading.Event):
    """Set when a signal asks for the end; ``by`` is its number. A flag, so that no start is interrupted halfway."""

    by = 0

    def take(self, number: int, frame: Any) -> None:  # noqa: ARG002 - the signature of a signal handler
        """Remember the first signal."""
        self.by = self.by or number
        self.set()


@dataclass(slots=True)
class Running:
    """The parts that this command started, or the worker alone.

    Attributes:
        settings: what they run with.
        server: the valkey-server of our own, where there is one.
        worker: the worker.
        keeps: data is kept after the end.
    """

    settings: Settings
    server: ValkeyServer | None
    worker: Worker
    keeps: bool

    def start(self, stop: StopRequest) -> None:
        """Start the worker and wait until it is ready, or until a signal."""
        self.worker.spawn()
        end = time.monotonic() + _READY_SECONDS
        while not stop.is_set() and not self.worker.ready():
            self.check()
            if time.monotonic() > end:
                said = self.worker.child.tail() if self.worker.child else ""
                raise UnavailableError(f"the worker is not ready after {_READY_SECONDS:g} s\n{said}".rstrip())
            stop.wait(0.05)

    def children(self) -> dict[str, Child]:
        """Return the processes that run, by name."""
        found = {"valkey": self.server.child if self.server else None, "worker": self.worker.child}
        return {name: child for name, child in found.items() if child is not None}

    def check(self) -> None:
        """Raise when a part has ended by itself."""
        for child in self.children().values():
            child.check()

    def show(self, screen: Screen, module: str) -> None:
        """Say where everything is and how to use it."""
        metrics = self.worker.metrics_url
        health = metrics.replace("/metrics", "/health")
        variables: dict[str, str] = {}  # whoever configured a server has them already
        if self.server is not None:
            variables = options.variables_of(self.settings)
            variables["NEARHIT_THRESHOLD"] = str(self.settings.threshold)
        if screen.json_wanted:
            pids = {name: child.process.pid for name, child in self.children().items()}
            urls = {"url": self.settings.url or None, "metrics_url": metrics, "health_url": health}
            screen.document({**urls, "pids": pids, "environment": dict(sorted(variables.items()))})
            return
        screen.marked("[bold green]nearhit is up[/]")
        rows = [("cache", self.server.url if self.server else self.settings.server().label)]
        if self.server is not None:
            rows.append(("engine", f"valkey-search from {module}" if module else "local: the server has no module"))
            rows.append(("data", str(self.server.folder) if self.keeps else "temporary; --data DIR keeps it"))
        screen.pairs([*rows, ("metrics", metrics), ("health", health)])
        screen.line("\nin another terminal:" if self.server else "\nin another terminal, with the same settings:")
        for name, value in sorted(variables.items()):
            screen.line(f"  export {name}={value}")
        screen.line('  nearhit fill "How do I reset my password?" "Use the link on the sign-in page." --wait')
        screen.line('  nearhit lookup "How can I reset my password?"')
        screen.line("\nCtrl-C stops all of it.")


@contextmanager
def on_signals(handler: Callable[[int, Any], None], *numbers: signal.Signals) -> Iterator[None]:
    """Let ``handler`` take signals while the block runs."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def own_server(arguments: Arguments, stack: ExitStack) -> ValkeyServer:
    """Return a valkey-server that was started here and ends with ``stack``, the only one on its data."""
    port = arguments.port
    if port is not None and not 0 <= port <= 65_535:
        raise ConfigError(f"--port must be 0 to 65535, not {port}")
    if port and not is_free(port):
        raise ConfigError(f"--port: something listens on port {port} already")
    if port is None:
        port = _PORT if is_free(_PORT) else free_port()
    folder = data_folder(arguments.data, stack)
    if arguments.data:
        file = stack.enter_context((folder / "lock").open("w"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"--data: another nearhit up uses {str(folder)!r}") from None
    server = ValkeyServer(folder / "valkey", port=port, durable=True, module=arguments.module)
    stack.callback(server.stop)
    return server.start()


def own_worker(settings: Settings, data: str | None, stack: ExitStack) -> Worker:
    """Return a worker that is not yet started and ends with ``stack``."""
    port = settings.metrics_port
    if port and not is_free(port):
        if os.environ.get("NEARHIT_METRICS_PORT", "").strip():
            raise ConfigError(f"NEARHIT_METRICS_PORT: something listens on port {port} already")
        port = free_port()
    worker = Worker(data_folder(data, stack) / "worker", options.variables_of(settings), metrics_port=port)
    stack.callback(worker.stop)
    return worker


def data_folder(data: str | None, stack: ExitStack) -> Path:
    """Return the folder that was named, or a temporary one that goes away with ``stack``."""
    if not data:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearhit-", ignore_cleanup_errors=True)))
    folder = Path(data).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
