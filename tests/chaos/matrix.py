"""Matrix: runs one cell, events under the load of four processes, and counts what became of every fill."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import wait_until

from nearhit import Hit, SemanticCache, Settings
from nearhit.telemetry.metrics import LANES
from tests.chaos.cells import CellStack
from tests.chaos.events import happen, in_turn
from tests.chaos.stack import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.cells import Cell
    from tests.chaos.events import Event

ROOT = Path(__file__).resolve().parents[2]
FACES = ("threads", "asyncio")
OF_EACH = 2
"""Faces of the cache in the processes that fill, and how many processes of each."""

CALLERS = 4
PER_SECOND = 25.0
"""Callers and fills a second of each process."""

HELD_BACK_SECONDS = 4.0
"""How long before its death a log server may have accepted what it had not written: it holds a write back for up to two
seconds, goes on for another fsync, and the callers' clock is read after the reply."""

SAMPLE = 100
"""Questions that are looked up at the end."""

_RECOVERY_SECONDS = 120.0


@dataclass
class Result:
    """What became of the fills of a cell.

    Attributes:
        cell: its name.
        events: how many events there were.
        fills: fills in all.
        accepted: fills that were accepted at once.
        spooled: fills that were told ``spooled``.
        other: fills with another outcome.
        questions: distinct questions.
        lost: accepted fills whose answer is not stored, though nothing newer was given.
        held_back: those of them that a log server may have held back when it was killed.
        lost_spooled: spooled fills whose answer is not stored, though nothing newer was given.
        twice: questions with more than one entry.
        dead: dead letters.
        not_found: of a sample of stored questions, those that no lookup finds.
        flushed: whether every process could send its spool.
        slowest: longest time that a fill took, seconds.
        recovered: seconds from each event to the moment when all was stored that the log had then, by kind of event.
        seconds: how long all of it took.
    """

    cell: str
    events: int = 0
    fills: int = 0
    accepted: int = 0
    spooled: int = 0
    other: int = 0
    questions: int = 0
    lost: int = 0
    held_back: int = 0
    lost_spooled: int = 0
    twice: int = 0
    dead: int = 0
    not_found: int = 0
    flushed: bool = True
    slowest: float = 0.0
    recovered: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def row(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Told:
    """What a fill was told, and when it began and ended."""

    started: float
    ended: float
    prompt: str
    answer: str
    outcome: str


def run_cell(cell: Cell, folder: Path, events: int, seed: int = 1, module: str = "", of_each: int = OF_EACH) -> Result:
    """Run a cell: start everything, let ``events`` events happen under load, and count."""
    started = time.monotonic()
    dice = random.Random(f"{cell.name} {seed}")
    result = Result(cell.name)
    deaths: list[float] = []
    with CellStack(folder, cell, module) as stack:
        fillers = Fillers(stack, seed, of_each)
        try:
            _start_workers(stack)
            fillers.wait_for_fills()
            for event in in_turn(events, dice):
                time.sleep(dice.uniform(0.2, 0.6))
                _let_happen(event, stack, dice, result, deaths)
        finally:
            told, result.flushed = fillers.end()
        wait_for(lambda: stack.left_in_log() == 0, _RECOVERY_SECONDS, "the logs are empty")
        _count(result, stack, told, deaths if cell.may_lose else [])
    result.seconds = time.monotonic() - started
    return result


class Fillers:
    """The processes that fill."""

    def __init__(self, stack: CellStack, seed: int, of_each: int) -> None:
        self._folder = stack.folder / "fillers"
        self._folder.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._outs: list[Path] = []
        faces = [face for face in FACES for _ in range(of_each)]
        for number, face in enumerate(faces):
            out = self._folder / f"{number}.jsonl"
            command = [sys.executable, "-m", "tests.chaos.filler", "--name", f"{face}{number}", "--face", face]
            command += ["--callers", str(CALLERS), "--per-second", str(PER_SECOND), "--seed", str(seed)]
            with (self._folder / f"{number}.log").open("wb") as log:
                self._processes.append(
                    subprocess.Popen(
                        [*command, "--out", str(out)],
                        cwd=ROOT,
                        env=_environment(stack),
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            self._outs.append(out)

    def wait_for_fills(self) -> None:
        """Return once every process fills."""
        wait_until(lambda: all(out.exists() and out.stat().st_size for out in self._outs), 60, "all processes fill")

    def end(self) -> tuple[list[Told], bool]:
        """Let the processes send their spools and end; return what they were told, and whether all was sent."""
        for one in self._processes:
            assert one.stdin is not None
            with suppress(OSError):
                one.stdin.close()
        codes = []
        for one in self._processes:
            try:
                codes.append(one.wait(_RECOVERY_SECONDS))
            except subprocess.TimeoutExpired:
                one.kill()
                codes.append(one.wait())
        return [told for out in self._outs if out.exists() for told in _read(out)], not any(codes)


def _environment(stack: CellStack) -> dict[str, str]:
    return {**os.environ, **stack.variables, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}


def _read(out: Path) -> Iterator[Told]:
    for line in out.read_text().splitlines():
        yield Told(*json.loads(line))


def _start_workers(stack: CellStack) -> None:
    """Start two workers at once and wait for both."""
    arguments = ("--pool", "prefork") if stack.cell.pool == "prefork" else ()
    for _ in range(2):
        stack.spawn_worker(*arguments)
    for worker in stack.workers:
        wait_until(worker.ready, 90, f"{worker.name} is ready")


def _let_happen(event: Event, stack: CellStack, dice: random.Random, result: Result, deaths: list[float]) -> None:
    happened = time.monotonic()
    death = happen(event, stack, dice)
    if death is not None:
        deaths.append(death)
    until_ms = time.time() * 1000
    wait_for(lambda: not _behind(stack, until_ms), _RECOVERY_SECONDS, f"all is stored after {event}")
    result.events += 1
    result.recovered.setdefault(str(event), []).append(round(time.monotonic() - happened, 2))


def _behind(stack: CellStack, until_ms: float) -> bool:
    """Return whether the log still has something of before."""
    with stack.log_server.client() as client, client.pipeline(transaction=False) as pipe:
        for lane in LANES:
            pipe.xrange(f"nearhit:{{{stack.namespace}}}:log:{lane}", "-", "+", 1)
            pipe.zcard(f"nearhit:{{{stack.namespace}}}:retry:{lane}")
        replies = pipe.execute()
    firsts = [int(rows[0][0].split(b"-")[0]) for rows in replies[::2] if rows]
    return any(replies[1::2]) or any(first <= until_ms for first in firsts)


def _count(result: Result, stack: CellStack, told: list[Told], deaths: list[float]) -> None:
    newest: dict[str, Told] = {}
    for one in told:
        newest[one.prompt] = one  # one caller each, in order
        name = one.outcome if one.outcome in {"accepted", "spooled"} else "other"
        setattr(result, name, getattr(result, name) + 1)
    result.fills, result.questions = len(told), len(newest)
    result.slowest = round(max(one.ended - one.started for one in told), 3)
    result.slowest = round(max(one.ended - one.started for one in told), 3)
    stored: dict[str, list[str]] = {}
    for row in stack.entries().values():
        stored.setdefault(row[b"prompt"].decode(), []).append(json.loads(row[b"response"]))
    for prompt, one in newest.items():
        if one.answer in stored.get(prompt, []):
            continue
        if one.outcome == "accepted":
            result.lost += 1
            result.held_back += any(0 <= death + 0.2 - one.ended < HELD_BACK_SECONDS for death in deaths)
        elif one.outcome == "spooled":
            result.lost_spooled += 1
    result.twice = sum(len(answers) > 1 for answers in stored.values())
    result.dead = len(stack.dead())
    result.not_found = _not_found(stack, stored)


def _not_found(stack: CellStack, stored: dict[str, list[str]]) -> int:
    """Return how many of a sample of stored questions a lookup does not find."""
    prompts = random.Random(5).sample(sorted(stored), min(SAMPLE, len(stored)))
    with SemanticCache(Settings.from_env(stack.variables)) as cache:
        cache.warm_up(60)
        missing = set(prompts)

        def all_found() -> bool:
            missing.difference_update([one for one in missing if isinstance(cache.lookup(one), Hit)])
            return not missing

        with suppress(Exception):
            wait_until(all_found, 20, "all are found")
        return len(missing)
