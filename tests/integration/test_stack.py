"""The embedded stack: whoever starts it can be interrupted at any moment, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import Child, ValkeyServer, wait_until

from nearhit.errors import ConfigError
from tests.support.terminal import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

_STARTS_A_STACK = """
import sys, time
from nearhit_worker.stack import Stack
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


@pytest.mark.skipif(sys.platform != "linux", reason="no such resource: a signal at the death of a parent")
def test_a_stack_whose_starter_is_killed_ends_too(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "NEARHIT_MODEL": "hash/64"}
    env.update({"NEARHIT_THRESHOLD": "0.9", "NEARHIT_METRICS_PORT": "0"})
    command = [sys.executable, "-m", "nearhit", "up", "--port", "0", "--json"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = json.loads(process.stdout.readline())["pids"]
        running = [Path(f"/proc/{pids[name]}/exe") for name in ("valkey", "worker")]
        there = [one.exists() for one in running]
        process.kill()
    assert there == [True, True]
    wait_until(lambda: not any(one.exists() for one in running), 30, "the children to end")


def test_a_child_of_a_thread_outlives_it(tmp_path: Path) -> None:
    made: list[Child] = []
    thread = threading.Thread(target=lambda: made.append(Child("sleep", ["sleep", "60"], tmp_path)))
    thread.start()
    thread.join()
    wait_until(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists(), 10, "the thread is gone")
    made[0].check()
    made[0].kill()


def test_a_server_program_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARHIT_VALKEY_SERVER", "/nowhere/valkey-server")
    with pytest.raises(ConfigError, match="/nowhere/valkey-server"):
        ValkeyServer(tmp_path).start()
