"""Up: the command that runs a whole stack in the foreground."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.screen import literal
from nearhit.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from nearhit_worker.stack import Child, ValkeyServer, Worker

    from nearhit.cli.screen import Screen
    from nearhit.settings import Settings

DESCRIPTION = """
Runs a stack in the foreground until Ctrl-C or SIGTERM, which stop all of it. Where no server is configured it starts a
valkey-server of its own (cache, fill log and broker in one, on this machine only) and a worker; where one is, a
worker for it. A part that ends by itself ends it all, with the last lines of its log.
"""
EXAMPLES = """
nearhit up
nearhit up --data ~/nearhit-data --port 6380
nearhit up --module /usr/lib/valkey/libsearch.so
NEARHIT_URL=valkey://cache:6379 nearhit up
"""
_PORT = 6379
_READY_SECONDS = 60.0
_WATCH_SECONDS = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--data", metavar="DIR", help="keep data there; without it a temporary folder that goes away")
    parser.add_argument(
        "--port",
        type=int,
        metavar="PORT",
        help=f"port of the server; {_PORT}, or a free one where that is taken; 0 takes any free one",
    )
    add_module(parser)
    options.add_json(parser)
    options.add_settings(parser, options.ALL)


def add_module(parser: argparse.ArgumentParser) -> None:
    """Add ``--module``."""
    parser.add_argument(
        "--module",
        metavar="PATH",
        default=os.environ.get("NEARHIT_SEARCH_MODULE", ""),
        help="search module for the server (NEARHIT_SEARCH_MODULE); without one the local engine searches",
    )


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Run the stack until it is told to stop: 130 after Ctrl-C, 0 after SIGTERM, 1 when a part has ended by itself.

    Raises:
        ConfigError: a setting is wrong, or a port is taken.
        UnavailableError: a part does not start.
    """
    settings = options.settings_of(arguments)
    check_parts(settings, arguments.module)
    embedded = not options.server_is_configured(arguments)
    with _signals() as told, ExitStack() as stack:
        server = stack.enter_context(_server(arguments)) if embedded else None
        if server is not None:
            settings = replace(settings, url=server.url)
        else:
            _ping(settings)
        worker = _worker(settings, Path(arguments.data) if arguments.data else None, stack)
        running = Running(settings, server, worker, keeps=bool(arguments.data))
        try:
            running.start(told)
            if not told.is_set():
                running.show(screen, arguments.module)
            running.watch(told)
        except UnavailableError as error:
            screen.note(f"nearhit: {error}")
            return exits.MISS
        screen.line("stopping…")
    screen.line("stopped")
    return exits.INTERRUPTED if told.by == signal.SIGINT else exits.OK


def check_parts(settings: Settings, module: str) -> None:
    """Say what is missing on this machine before anything is started.

    Raises:
        ConfigError: the local model is not installed, or there is no such module.
    """
    if settings.model == options.THRESHOLD_MODEL:
        from nearhit.embedding.minilm.folder import find_model_folder  # noqa: PLC0415 - other models need none of it

        find_model_folder()
    if module and not Path(module).is_file():
        raise ConfigError(f"--module: there is no file {module!r}")


class Told(threading.Event):
    """Set when a signal has asked for the end; ``by`` is its number. A flag, so that no start is torn in the middle."""

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

    def start(self, told: Told) -> None:
        """Start the worker and wait until it is ready, or until a signal.

        Raises:
            UnavailableError: it ended, or is not ready in time.
        """
        self.worker.spawn()
        end = time.monotonic() + _READY_SECONDS
        while not told.is_set() and not self.worker.ready():
            self.check()
            if time.monotonic() > end:
                said = self.worker.child.tail() if self.worker.child else ""
                raise UnavailableError(f"the worker is not ready after {_READY_SECONDS:g} s\n{said}".rstrip())
            told.wait(0.05)

    def watch(self, told: Told) -> None:
        """Return at a signal.

        Raises:
            UnavailableError: a part ended by itself.
        """
        while not told.wait(_WATCH_SECONDS):
            self.check()

    def check(self) -> None:
        """Raise when a part has ended by itself.

        Raises:
            UnavailableError: with the last lines of its log.
        """
        for child in self._children().values():
            child.check()

    def show(self, screen: Screen, module: str) -> None:
        """Say where everything is and how to use it."""
        metrics = self.worker.metrics_url
        health = metrics.replace("/metrics", "/health")
        variables = self._variables()
        if screen.json_wanted:
            pids = {name: child.process.pid for name, child in self._children().items()}
            urls = {"url": self.settings.url or None, "metrics_url": metrics, "health_url": health}
            screen.document({**urls, "pids": pids, "environment": variables})
            return
        screen.marked("[bold green]nearhit is up[/]")
        rows = [("cache", self.server.url if self.server else self.settings.server().label)]
        if self.server is not None:
            rows.append(("engine", f"valkey-search from {module}" if module else "local: the server has no module"))
            rows.append(("data", str(self.server.folder) if self.keeps else "temporary; --data DIR keeps it"))
        rows += [("metrics", metrics), ("health", health)]
        screen.pairs([(name, literal(value)) for name, value in rows])
        screen.line("\nin another terminal:" if self.server else "\nin another terminal, with the same settings:")
        for name, value in variables.items():
            screen.line(f"  export {name}={value}")
        screen.line('  nearhit fill "How do I reset my password?" "Use the link on the sign-in page." --wait')
        screen.line('  nearhit lookup "How can I reset my password?"')
        screen.line("\nCtrl-C stops all of it.")

    def _children(self) -> dict[str, Child]:
        found = {"valkey": self.server.child if self.server else None, "worker": self.worker.child}
        return {name: child for name, child in found.items() if child is not None}

    def _variables(self) -> dict[str, str]:
        if self.server is None:
            return {}  # whoever configured the server has them already
        wanted = options.variables_of(self.settings)
        wanted["NEARHIT_THRESHOLD"] = str(self.settings.threshold)
        return {name: wanted[name] for name in sorted(wanted)}


@contextmanager
def _signals() -> Iterator[Told]:
    """Turn SIGINT, SIGTERM and SIGHUP into a flag while the block runs; its end, too, is then never torn."""
    told = Told()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, told.take) for number in numbers}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _server(arguments: argparse.Namespace) -> Iterator[ValkeyServer]:
    from nearhit_worker.stack import ValkeyServer, free_port  # noqa: PLC0415 - help needs none of it

    port = arguments.port
    if port is not None and not 0 <= port <= 65_535:
        raise ConfigError(f"--port must be 0 to 65535, not {port}")
    if port and not _is_free(port):
        raise ConfigError(f"--port: something listens on port {port} already")
    if port is None:
        port = _PORT if _is_free(_PORT) else free_port()
    with ExitStack() as stack:
        if arguments.data:
            folder = Path(arguments.data).expanduser().resolve()
            stack.enter_context(_lock(folder))
        else:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="nearhit-", ignore_cleanup_errors=True))
            )
        server = ValkeyServer(folder / "valkey", port=port, durable=True, module=arguments.module)
        stack.callback(server.stop)
        yield server.start()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep a second server from the same data, which two would ruin."""
    import fcntl  # noqa: PLC0415 - not on every platform that may ask for help

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f"--data: another nearhit up uses {str(folder)!r}") from None
        yield


def _worker(settings: Settings, data: Path | None, stack: ExitStack) -> Worker:
    from nearhit_worker.stack import Worker, free_port  # noqa: PLC0415 - help needs none of it

    if data is None:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nearhit-", ignore_cleanup_errors=True)))
    port = settings.metrics_port
    if port and not _is_free(port):
        if os.environ.get("NEARHIT_METRICS_PORT", "").strip():
            raise ConfigError(f"NEARHIT_METRICS_PORT: something listens on port {port} already")
        port = free_port()
    worker = Worker(data.expanduser() / "worker", options.variables_of(settings), metrics_port=port)
    stack.callback(worker.stop)
    return worker


def _ping(settings: Settings) -> None:
    from nearhit.cli.servers import Servers  # noqa: PLC0415 - help needs none of it

    with Servers(settings) as servers:
        servers.cache.ping()
        servers.log.ping()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
