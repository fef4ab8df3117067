"""Terminal: runs ``nearhit`` as real processes, as a person at a fresh machine would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import wait_until

from nearhit.errors import UnavailableError

if TYPE_CHECKING:
    import signal

ROOT = Path(__file__).resolve().parents[2]
_OURS = ("NEARHIT_", "VALKEY_", "REDIS_")


@dataclass(frozen=True, slots=True)
class Ended:
    """What a finished command left: exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """The JSON documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Terminal:
    """A shell with a home of its own and none of our variables, but those given.

    Args:
        home: a folder of the test's own.
        variables: of its environment.

    Attributes:
        temporary: where its commands put temporary files.
    """

    def __init__(self, home: Path, **variables: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # a newcomer's second command is not compiled anew
        self.home = home
        self.temporary = home / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.env = {**kept, "HOME": str(home), "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT), **variables}

    def run(self, *words: str, stdin: str | None = None, timeout_seconds: float = 60.0) -> Ended:
        """Run a command to its end."""
        done = subprocess.run(
            self._command(words), env=self.env, cwd=self.home, input=stdin if stdin is not None else "",
            capture_output=True, text=True, timeout=timeout_seconds, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> Foreground:
        """Start a command that stays."""
        process = subprocess.Popen(
            self._command(words), env=self.env, cwd=self.home, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        return Foreground(process)

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "nearhit", *words]


class Foreground:
    """A command that stays until it is told to stop."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def document(self) -> Any:
        """Wait for the next line on stdout and return it as JSON."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"it ended instead: {self.end(None)}")
        return json.loads(line)

    def end(self, number: signal.Signals | None, timeout_seconds: float = 40.0) -> Ended:
        """Send a signal, or none, and wait for the end."""
        if number is not None:
            self.process.send_signal(number)
        try:
            out, err = self.process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return Ended(self.process.returncode, out, err)


def children_of(pid: int) -> dict[str, int]:
    """Return the process's children by name."""
    files = Path(f"/proc/{pid}/task").glob("*/children")  # a child belongs to the thread that started it
    return {f"child {one}": int(one) for file in files for one in file.read_text().split()}


def still_running(pids: dict[str, int], timeout_seconds: float = 5.0) -> list[str]:
    """Return the names of the processes that are there after a moment of grace."""
    with suppress(UnavailableError):
        wait_until(lambda: not any(map(_is_there, pids.values())), timeout_seconds, "they end")
    return [name for name, pid in pids.items() if _is_there(pid)]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
