"""The screen on a real terminal and in a file: bars, live views, and no colour where none is wanted."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

BAR = """
from nearhit.cli.screen import Screen
with Screen(json_wanted=True) as screen:
    for done in range(0, 40, 10):
        screen.progress("embedded", done, 40, "rows")
    screen.note("in between")
    screen.document({"done": True})
"""
LIVE = """
from nearhit.cli.screen import Screen, table
with Screen() as screen:
    for fills in ("17", "18"):
        screen.live(table("", ("lane", "fills"), [("bulk", fills)]))
"""


def on_terminal(program: str, stream: str, **variables: str) -> tuple[str, str]:
    """Run a program with one of its streams on a terminal; return what came there, and what on stdout otherwise."""
    leader, follower = pty.openpty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: follower}
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **variables}
    with subprocess.Popen([sys.executable, "-c", program], env=env, text=True, **streams) as process:  # type: ignore[call-overload]
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65_536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(leader)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return shown.decode(), out or ""


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_long_work_has_a_bar_on_a_terminal_and_stdout_stays_json(variables: dict[str, str]) -> None:
    shown, out = on_terminal(BAR, "stderr", **variables)
    assert "embedded rows" in shown
    assert "30 of 40  75 %" in shown
    assert "/s" in shown
    assert "in between" in shown
    assert shown.count("\x1b[?25h") == 1, "the cursor is there again"
    assert ("\x1b[38;5;" in shown or "\x1b[3" in shown) is not bool(variables)
    assert json.loads(out) == {"done": True}


def test_a_live_view_takes_the_place_of_the_one_before_on_a_terminal() -> None:
    shown, _ = on_terminal(LIVE, "stdout")
    assert "\x1b[1A" in shown
    assert "\x1b[?25h" in shown


def test_outside_a_terminal_there_is_no_bar_and_no_escape() -> None:
    bar = subprocess.run([sys.executable, "-c", BAR], capture_output=True, text=True, check=True, timeout=60)
    assert (bar.stdout, bar.stderr) == ('{"done": true}\n', "in between\n")
    live = subprocess.run([sys.executable, "-c", LIVE], capture_output=True, text=True, check=True, timeout=60)
    assert "\x1b" not in live.stdout
    assert live.stdout.count("bulk") == 2
