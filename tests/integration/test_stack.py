"""The embedded stack: whoever starts it can be interrupted at any moment, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.terminal import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

_STARTS_A_STACK = """
import sys, time
from worker.stack import Stack
try:
    print("now", flush=True)
    with Stack({"NEARHIT_MODEL": "hash/64", "NEARHIT_THRESHOLD": "0.9"}):
        time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


def left_over(folder: Path) -> list[str]:
    """Return the commands of the processes that were started with ``folder`` for their temporary files."""
    found, mark = [], f"TMPDIR={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended meanwhile
    return found


def interrupted(folder: Path, when: Callable[[float], bool]) -> int:
    """Start a stack, interrupt it as soon as ``when(seconds since its start)``, and return its exit code."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    command = [sys.executable, "-c", _STARTS_A_STACK]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        start = time.monotonic()
        while not when(passed := time.monotonic() - start) and passed < 30:
            pass  # no pause: the moment that matters is shorter than any
        process.send_signal(signal.SIGINT)
        return process.wait(30)


@pytest.mark.parametrize("after_ms", [0, 2, 5, 10, 20, 40, 100, 300])
def test_an_interrupt_during_the_start_leaves_nothing(tmp_path: Path, after_ms: int) -> None:
    assert interrupted(tmp_path, lambda passed: passed >= after_ms / 1_000) == 130
    assert left_over(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["valkey", "worker"])
@pytest.mark.parametrize("run", range(5))
def test_an_interrupt_while_a_child_is_being_started_leaves_nothing(tmp_path: Path, name: str, run: int) -> None:
    assert interrupted(tmp_path, lambda _: any(tmp_path.glob(f"nearhit-*/{name}/{name}.log"))) == 130, run
    assert left_over(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
