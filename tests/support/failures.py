"""Failures: how long a call took, why it is a miss, and a server that hangs."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import Hit, Miss, MissReason, Settings
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.faces import Face

DEADLINE_MS = 250
MARGIN_SECONDS = 1.0
"""For a machine with more to do than this test; far below any of redis-py's own time limits and retries together."""


def pid_of(server: ValkeyServer) -> int:
    assert server.child is not None
    return server.child.process.pid


@contextmanager
def frozen(server: ValkeyServer) -> Iterator[None]:
    """Let the server hang: it takes connections and answers nothing."""
    os.kill(pid_of(server), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid_of(server), signal.SIGCONT)


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.monotonic()
    return call(), time.monotonic() - started


def in_time(call: Callable[[], Any], milliseconds: float = DEADLINE_MS) -> Any:
    outcome, seconds = timed(call)
    assert seconds < milliseconds / 1000 + MARGIN_SECONDS
    return outcome


def reason(outcome: Hit | Miss) -> MissReason:
    assert isinstance(outcome, Miss), outcome
    return outcome.reason


def count(face: Face, name: str, **labels: str) -> float:
    return face.metrics.registry.get_sample_value(name, {"namespace": face.metrics.namespace, **labels}) or 0.0


def stocked(face: Face, settings: Settings) -> None:
    """Have one answer in the cache, and the cache warm."""
    assert face.warm_up()
    store = Store(settings)
    store.add("What is it?", "a thing")
    store.close()
    wait_until(lambda: bool(face.lookup("what is it")), 10, "the entry is found")
