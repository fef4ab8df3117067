"""What a killed log server keeps of the fills that it accepted, on a disk of its own pace and on a slow one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from nearhit import FillOutcome, SemanticCache
from nearhit.domain import fill_message
from tests.chaos.stack import Stack
from tests.support.slow_disk import SlowDiskServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

SLOW_SECONDS = 0.8
THREADS = 8
KILLS = 3


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes a line into the report: what was measured."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    return lambda text: reporter.write_line(f"\n{text}")


@dataclass
class Crowd:
    """Threads that fill as fast as they are answered, and remember what was accepted."""

    cache: SemanticCache
    accepted: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.threads = [threading.Thread(target=self.fill, args=(f"caller {number}",)) for number in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def fill(self, name: str) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            if self.cache.fill(f"{name} {number}", "an answer") is FillOutcome.ACCEPTED:
                self.accepted.add(f"{name} {number}")
            time.sleep(0.005)  # the pace of a caller


@pytest.fixture
def crowd() -> Iterator[Callable[[SemanticCache], Crowd]]:
    made: list[Crowd] = []

    def start(cache: SemanticCache) -> Crowd:
        made.append(Crowd(cache))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.end()


def kept(stack: Stack) -> set[str]:
    """Return the questions that the log has."""
    with stack.log_server.client() as client:
        rows = client.xrange(f"nearhit:{{{stack.namespace}}}:log:interactive")
    return {fill_message.decode(fields[b"m"]).prompt for _, fields in rows}


def lost_in_kills(stack: Stack, crowd: Callable[[SemanticCache], Crowd], durability: str) -> tuple[int, int]:
    """Kill the log's server again and again; return how many fills were accepted, and how many are not there."""
    with (
        stack.cache_server,
        stack.log_server,
        stack.client(durability=durability, enqueue_deadline_ms=5_000) as cache,
    ):
        one = crowd(cache)
        for kill in range(KILLS):
            wanted = len(one.accepted) + 20
            wait_until(lambda: len(one.accepted) > wanted, 30, "fills are accepted")  # noqa: B023 - called at once
            time.sleep(0.4 + 0.5 * kill)  # anywhere between two fsyncs
            stack.log_server.kill()
            stack.log_server.start()
        one.end()
        return len(one.accepted), len(one.accepted - kept(stack))


@pytest.mark.parametrize(("durability", "how", "slow"), [("write", "always", 0.0), ("fsync", "everysec", SLOW_SECONDS)])
def test_a_killed_log_server_keeps_all_that_was_synced_or_confirmed(
    tmp_path: Path, crowd: Callable[[SemanticCache], Crowd], durability: str, how: str, slow: float
) -> None:
    stack = Stack(tmp_path)
    stack.log_server = SlowDiskServer(tmp_path / "log", durable=True, appendfsync=how, fsync_seconds=slow)
    accepted, lost = lost_in_kills(stack, crowd, durability)
    assert accepted > 20 * KILLS
    assert lost == 0


def test_what_a_killed_log_server_loses_of_what_was_only_written_is_counted(
    tmp_path: Path, crowd: Callable[[SemanticCache], Crowd], say: Callable[[str], None]
) -> None:
    stack = Stack(tmp_path)
    stack.log_server = SlowDiskServer(tmp_path / "log", durable=True, fsync_seconds=SLOW_SECONDS)
    accepted, lost = lost_in_kills(stack, crowd, "write")
    say(f"write, everysec, fsync of {SLOW_SECONDS} s: {lost} of {accepted} accepted fills lost in {KILLS} kills")
    assert accepted > 20 * KILLS
