"""Events: what is done to a process, SIGKILL, SIGTERM or SIGSTOP, and how it comes back."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit_worker.stack import Worker

from tests.chaos.rabbit import RabbitServer
from tests.chaos.stack import children_of

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from nearhit_worker.stack import Child, ValkeyServer

    from tests.chaos.cells import CellStack

VICTIMS = ("worker", "log server", "cache server", "broker")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGSTOP")

AWAY_SECONDS = 1.0
"""Longest time that a killed server stays away."""

STOPPED_SECONDS = 3.0
"""Longest time that a stopped process stands still: longer than a fill may be in the hands of a silent worker here."""

_END_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to a process."""

    victim: str
    signal: str

    def __str__(self) -> str:
        return f"{self.victim}, {self.signal}"


BACKLOG = Event("log server while the workers stand still", "SIGKILL")
"""The worst hour of the log's server: nobody has stored what it is about to forget."""

EVENTS = (*(Event(victim, name) for victim in VICTIMS for name in SIGNALS), BACKLOG)


def in_turn(count: int, dice: random.Random) -> list[Event]:
    """Return ``count`` events in random order, each kind as often as any other; ``BACKLOG`` comes first."""
    rounds: list[Event] = []
    while len(rounds) < count:
        some = list(EVENTS)
        dice.shuffle(some)
        rounds += some
    rounds.remove(BACKLOG)
    return [BACKLOG, *rounds][:count]


def happen(event: Event, stack: CellStack, dice: random.Random) -> float | None:
    """Let an event happen, and bring the process back; return when the log's server was killed, if it was."""
    if event == BACKLOG:
        return _kill_with_backlog(stack, dice)
    happened = time.time()
    _happen(event, stack, dice)
    return happened if (event.victim, event.signal) == ("log server", "SIGKILL") else None


def _kill_with_backlog(stack: CellStack, dice: random.Random) -> float:
    workers = [pid for worker in stack.workers for pid in _pids(worker)]
    _send(workers, signal.SIGSTOP)
    try:
        time.sleep(dice.uniform(0.5, 2.0))
        happened = time.time()
        stack.log_server.kill()
        stack.log_server.start()
    finally:
        _send(reversed(workers), signal.SIGCONT)
    return happened


def _happen(event: Event, stack: CellStack, dice: random.Random) -> None:
    victim = _of(event.victim, stack, dice)
    if event.signal == "SIGSTOP":
        pids = _pids(victim)
        _send(pids, signal.SIGSTOP)
        time.sleep(dice.uniform(0.2, STOPPED_SECONDS))
        _send(reversed(pids), signal.SIGCONT)
        return
    if event.signal == "SIGTERM":
        _terminate(victim)
    elif isinstance(victim, Worker) and dice.random() < 0.5 and len(pids := _pids(victim)) > 1:
        _send([dice.choice(pids[:-1])], signal.SIGKILL)  # a child of a prefork pool alone
        return
    else:
        _kill(victim)
    if isinstance(victim, Worker):
        victim.spawn()
    else:
        time.sleep(dice.uniform(0, AWAY_SECONDS))
        victim.start()


def _of(name: str, stack: CellStack, dice: random.Random) -> Worker | ValkeyServer | RabbitServer:
    if name == "worker":
        return dice.choice(stack.workers)
    return {"log server": stack.log_server, "cache server": stack.cache_server, "broker": stack.broker}[name]


def _child(victim: Worker | ValkeyServer | RabbitServer) -> Child:
    assert victim.child is not None
    return victim.child


def _pids(victim: Worker | ValkeyServer | RabbitServer) -> list[int]:
    """Return the processes of a victim, its first one last."""
    first = _child(victim).process.pid
    if isinstance(victim, Worker):
        return [*children_of(victim), first]
    if isinstance(victim, RabbitServer):
        return [*_group(first), first]
    return [first]


def _group(leader: int) -> list[int]:
    """Return the other processes of a group: RabbitMQ is a shell, a node and helpers."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        if int(one.name) != leader:
            with suppress(OSError):
                if os.getpgid(int(one.name)) == leader:
                    found.append(int(one.name))
    return found


def _send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill(victim: Worker | ValkeyServer | RabbitServer) -> None:
    if isinstance(victim, Worker):
        _send(_pids(victim), signal.SIGKILL)
    victim.kill()


def _terminate(victim: Worker | ValkeyServer | RabbitServer) -> None:
    if isinstance(victim, RabbitServer):
        _send(_pids(victim), signal.SIGTERM)
        _child(victim).process.wait(_END_SECONDS)
        victim.kill()  # helpers of it that do not end
        return
    _child(victim).stop(_END_SECONDS)
