"""Filler: a process of an application that fills at a steady pace and writes down what it was told.

Run by the matrix as ``python -m tests.chaos.filler``; it ends when its input does, once its spool is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit import AsyncSemanticCache, SemanticCache, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

AGAIN_SHARE = 0.2
"""Share of fills that give a question of before a newer answer."""

FLUSH_SECONDS = 60.0


class Caller:
    """One caller: what it fills next, and what became of it. Its questions are its own, so that the newest is known."""

    def __init__(self, name: str, out: Path, seed: int) -> None:
        self._name = name
        self._dice = random.Random(f"{name} {seed}")
        self._given: list[str] = []
        self._file = out.open("a", buffering=1)

    def fills(self) -> Iterator[tuple[str, str]]:
        """Give questions and answers without end."""
        number = 0
        while True:
            number += 1
            prompt = f"{self._name} question {number}"
            if self._given and self._dice.random() < AGAIN_SHARE:
                prompt = self._dice.choice(self._given)
            else:
                self._given.append(prompt)
            yield prompt, f"answer {number}"

    def note(self, started: float, prompt: str, answer: str, outcome: str) -> None:
        """Write down what a fill was told."""
        self._file.write(json.dumps([started, time.time(), prompt, answer, outcome]) + "\n")


def run_threads(callers: list[Caller], pause: float, ended: threading.Event) -> bool:
    """Fill from threads until ``ended``; return whether the spool is sent."""
    with SemanticCache(Settings.from_env()) as cache:

        def fill(caller: Caller) -> None:
            for prompt, answer in caller.fills():
                started = time.time()
                caller.note(started, prompt, answer, cache.fill(prompt, answer).value)
                if ended.wait(max(0.0, started + pause - time.time())):
                    return

        threads = [threading.Thread(target=fill, args=(caller,)) for caller in callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return cache.flush(FLUSH_SECONDS)


async def run_tasks(callers: list[Caller], pause: float, ended: threading.Event) -> bool:
    """Fill from tasks of one loop until ``ended``; return whether the spool is sent."""
    async with AsyncSemanticCache(Settings.from_env()) as cache:

        async def fill(caller: Caller) -> None:
            for prompt, answer in caller.fills():
                started = time.time()
                caller.note(started, prompt, answer, (await cache.fill(prompt, answer)).value)
                await asyncio.sleep(max(0.0, started + pause - time.time()))
                if ended.is_set():
                    return

        await asyncio.gather(*(fill(caller) for caller in callers))
        return await cache.flush(FLUSH_SECONDS)


def main() -> int:
    """Fill until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--face", choices=("threads", "asyncio"), required=True)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--per-second", type=float, required=True, help="fills of the whole process")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    callers = [Caller(f"{asked.name}-{number}", asked.out, asked.seed) for number in range(asked.callers)]
    pause = asked.callers / asked.per_second
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    if asked.face == "threads":
        sent = run_threads(callers, pause, ended)
    else:
        sent = asyncio.run(run_tasks(callers, pause, ended))
    return 0 if sent else 1


if __name__ == "__main__":
    raise SystemExit(main())
