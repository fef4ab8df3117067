"""Field: two real servers, real workers and a filler, for tests and measurements that kill them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nearhit import FillOutcome, Hit, SemanticCache, Settings
from nearhit.metrics import LANES
from nearhit.refresh import LANE as REFRESH_LANE
from worker.stack import ValkeyServer, Worker, wait_until

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


class Field:
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
        name = f"worker{len(self.workers)}"
        more = {f"NEARHIT_{key.upper()}": str(value) for key, value in changes.items()}
        worker = Worker(self.folder / name, {**self.variables, **more}, arguments, name=name)
        self.workers.append(worker)
        return worker.start()

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


@dataclass
class Filler:
    """Fills from a thread of its own at a steady pace, and remembers what it was told.

    Args:
        cache: what to fill.
        fills: how many in all.
        per_second: the pace.
        again_share: share of fills that give a question of before a newer answer.
    """

    cache: SemanticCache
    fills: int
    per_second: float
    again_share: float = 0.2
    seed: int = 7
    newest: dict[str, str] = field(default_factory=dict)
    outcomes: dict[FillOutcome, int] = field(default_factory=dict)
    slowest_seconds: float = 0.0
    done: int = 0

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="filler", daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def join(self, timeout_seconds: float) -> None:
        """Wait until all fills were given and the spool is sent."""
        self._thread.join(timeout_seconds)
        assert not self._thread.is_alive(), f"{self.done} of {self.fills} fills"
        assert self.cache._publisher.flush(timeout_seconds), "the spool is not empty"  # noqa: SLF001 - no public need

    def _run(self) -> None:
        dice = random.Random(self.seed)
        started = time.monotonic()
        for number in range(self.fills):
            prompt = f"question {number}"
            if self.newest and dice.random() < self.again_share:
                prompt = dice.choice(list(self.newest))
            answer = f"answer {number}"
            before = time.monotonic()
            outcome = self.cache.fill(prompt, answer)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - before)
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
            self.newest[prompt] = answer
            self.done += 1
            time.sleep(max(0.0, started + number / self.per_second - time.monotonic()))


def check(field_: Field, filler: Filler) -> dict[str, int]:
    """Compare what is stored with what was given; return counts of what is missing, wrong, or there twice."""
    entries = field_.entries()
    prompts: dict[str, list[str]] = {}
    for fields in entries.values():
        prompts.setdefault(fields[b"prompt"].decode(), []).append(fields[b"response"].decode())
    dead = len(field_.dead())
    missing = [prompt for prompt in filler.newest if prompt not in prompts]
    wrong = [p for p, answer in filler.newest.items() if p in prompts and f'"{answer}"' not in prompts[p]]
    twice = [prompt for prompt, answers in prompts.items() if len(answers) > 1]
    return {
        "fills": filler.done,
        "distinct": len(filler.newest),
        "entries": len(entries),
        "missing": len(missing),
        "older answer": len(wrong),
        "twice": len(twice),
        "dead letters": dead,
    }


def found_by_lookup(cache: SemanticCache, filler: Filler) -> int:
    """Return how many questions a lookup finds with their newest answer."""
    found = 0
    for prompt, answer in filler.newest.items():
        outcome = cache.lookup(prompt)
        found += isinstance(outcome, Hit) and outcome.answer == answer
    return found


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
