"""Stack: two real servers, real workers and a filler, for tests and measurements that kill them."""

from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nearhit_worker.stack import ValkeyServer, Worker, wait_until

from nearhit import SemanticCache, Settings
from nearhit.telemetry.metrics import LANES
from nearhit.write.refresh_queue import LANE as REFRESH_LANE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import redis

CLAIM_IDLE_MS = 2_000
"""How long a silent worker's fills are left to it here; 15,000 by default."""


def wait_for(true: Any, timeout_seconds: float, description: str) -> None:
    """Return once ``true()`` holds, also when the server that it asks is away for a while."""

    def holds() -> bool:
        try:
            return bool(true())
        except (OSError, Exception) as error:
            if "redis" in type(error).__module__:
                return False
            raise

    wait_until(holds, timeout_seconds, description)


class Stack:
    """A cache server, a log server, and workers, each of which may be killed and started again.

    Args:
        folder: where everything is kept.
        changes: settings of the workers and of the client.
    """

    def __init__(self, folder: Path, **changes: object) -> None:
        self.folder = folder
        self.cache_server = ValkeyServer(folder / "cache", durable=True)
        self.log_server = ValkeyServer(folder / "log", durable=True)
        self.namespace = "chaos"
        self.workers: list[Worker] = []
        self._changes = {"model": "hash/64", "claim_idle_ms": CLAIM_IDLE_MS, "poll_seconds": 0.2, **changes}

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a worker."""
        values: dict[str, object] = {
            "threshold": 0.8,
            "url": self.cache_server.url,
            "log_url": self.log_server.url,
            "namespace": self.namespace,
            "guard": "false",
            "retry_ceiling_seconds": 2,
            "concurrency": 2,
            "ttl_jitter": 0,
            **self._changes,
        }
        return {f"NEARHIT_{name.upper()}": str(value) for name, value in values.items()}

    def client(self, **changes: object) -> SemanticCache:
        """Return a cache as an application has it."""
        return SemanticCache(Settings.from_env(self.variables, deadline_ms=5_000, **changes))

    def add_worker(self, *arguments: str, **changes: object) -> Worker:
        """Start a worker and wait until it is ready."""
        return self._made_worker(arguments, changes).start()

    def spawn_worker(self, *arguments: str, **changes: object) -> Worker:
        """Start a worker without waiting."""
        worker = self._made_worker(arguments, changes)
        worker.spawn()
        return worker

    def _made_worker(self, arguments: tuple[str, ...], changes: dict[str, object]) -> Worker:
        name = f"worker{len(self.workers)}"
        more = {f"NEARHIT_{key.upper()}": str(value) for key, value in changes.items()}
        worker = Worker(self.folder / name, {**self.variables, **more}, arguments, name=name)
        self.workers.append(worker)
        return worker

    def start(self) -> Self:
        """Start the servers."""
        self.cache_server.start()
        self.log_server.start()
        return self

    def stop(self) -> None:
        """Stop everything."""
        for worker in self.workers:
            for pid in children_of(worker):
                end(pid)
            worker.kill()
        self.log_server.stop()
        self.cache_server.stop()

    def entries(self) -> dict[bytes, dict[bytes, bytes]]:
        """Return every entry by its key."""
        with self.cache_server.client() as client:
            names = list(client.scan_iter(f"nearhit:{self.namespace}:*:e:*", count=1000))
            with client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hgetall(name)
                return dict(zip(names, pipe.execute(), strict=True))

    def left_in_log(self) -> int:
        """Return how many fills are in the logs or wait for a retry."""
        # in one step: a fill that moves from one to the other between two looks would be seen in neither
        with self.log_server.client() as client, client.pipeline(transaction=True) as pipe:
            for lane in (*LANES, REFRESH_LANE):
                pipe.xlen(f"nearhit:{{{self.namespace}}}:log:{lane}")
                pipe.zcard(f"nearhit:{{{self.namespace}}}:retry:{lane}")
            return sum(pipe.execute())

    def dead(self) -> list[dict[bytes, bytes]]:
        """Return the dead letters."""
        with self.log_server.client() as client:
            return [fields for _, fields in client.xrange(f"nearhit:{{{self.namespace}}}:dead")]

    def wait_until_stored(self, timeout_seconds: float = 60.0) -> None:
        """Return once nothing is left in the logs."""
        wait_for(lambda: self.left_in_log() == 0, timeout_seconds, "the logs are empty")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def children_of(worker: Worker) -> list[int]:
    """Return the process ids of a prefork worker's children."""
    if worker.child is None or not worker.child.running:
        return []
    pid = worker.child.process.pid
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        listed = subprocess.run(("pgrep", "-P", str(pid)), capture_output=True, text=True, check=False)  # noqa: S607
        text = listed.stdout
    return [int(word) for word in text.split()]


def end(pid: int) -> None:
    """Kill a process, if it is there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def metric(worker: Worker, name: str) -> float:
    """Return the sum of a series over its labels, from the worker's /metrics."""
    return sum(_values(worker, name))


def _values(worker: Worker, name: str) -> Iterator[float]:
    with urllib.request.urlopen(worker.metrics_url, timeout=5) as answer:  # noqa: S310 - an http url of ours
        for line in answer.read().decode().splitlines():
            if line.startswith((f"{name}{{", f"{name} ")):
                yield float(line.rpartition(" ")[2])


def client_of(server: ValkeyServer) -> redis.Redis:
    """Return a client that is closed with its block."""
    return server.client()
