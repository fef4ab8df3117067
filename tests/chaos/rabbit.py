"""Rabbit: a private RabbitMQ on loopback, where the machine has one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from typing import TYPE_CHECKING, Self

from nearhit_worker.stack import Child, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

SCRIPTS = "/usr/lib/rabbitmq/bin"


def rabbitmq_program() -> str | None:
    """Return the path of rabbitmq-server itself; the one on PATH of a Debian package insists on its own user."""
    return shutil.which("rabbitmq-server", path=os.pathsep.join((SCRIPTS, os.environ.get("PATH", ""))))


class RabbitServer:
    """A RabbitMQ node with its own data, on free ports of 127.0.0.1.

    Args:
        folder: where its data and log are; kept over a restart.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._epmd_port = free_port()
        self._distribution_port = free_port()
        self.child: Child | None = None
        self._epmd: Child | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self, timeout_seconds: float = 60.0) -> Self:
        """Start it and wait until it takes connections."""
        program = rabbitmq_program()
        assert program is not None
        (self.folder / "plugins").write_text("[].\n")
        env = {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"nearhit{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        if self._epmd is None:  # of our own, since one that the node starts would outlive it
            mapper = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = Child("epmd", mapper, self.folder, env)
        self.child = Child("rabbitmq", [program], self.folder, env)
        wait_until(self._answers, timeout_seconds, "rabbitmq-server answers")
        return self

    def kill(self) -> None:
        """End it and all that it started at once, as a crash would."""
        if self.child is not None:
            try:
                os.killpg(
                    self.child.process.pid, signal.SIGKILL
                )  # a session of its own: the shell, the node, its ports
            except ProcessLookupError:
                return
            self.child.process.wait(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._epmd is not None:
            self._epmd.stop()

    def _answers(self) -> bool:
        if self.child is not None:
            self.child.check()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                probe.settimeout(2)
                return probe.recv(1) == b"\x01"
        except OSError:
            return False
