"""Skips: what is skipped in CI without being expected is a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport"


@pytest.mark.parametrize(
    ("body", "ci", "code"),
    [
        ("def test_it(): pytest.skip('not today')", "true", 1),
        ("def test_it(): pytest.skip('not today')", "", 0),
        ("def test_it(): pytest.skip('no search module: set it')", "true", 0),
        ("@pytest.mark.skip(reason='broken')\ndef test_it(): ...", "true", 1),
        ("pytest.importorskip('no_such_package')\ndef test_it(): ...", "true", 1),
        ("@pytest.mark.xfail(reason='known', strict=True)\ndef test_it(): assert False", "true", 0),
        ("def test_it(): ...", "true", 0),
    ],
    ids=["skip in CI", "skip", "expected skip in CI", "mark in CI", "module in CI", "xfail in CI", "pass in CI"],
)
def test_a_skip_that_nobody_expected_fails_in_ci(tmp_path: Path, body: str, ci: str, code: int) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_one.py").write_text(f"import pytest\n\n{body}\n")
    env = {"CI": ci, "PYTHONPATH": f"{ROOT}", "PATH": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    failed = done.returncode in (1, 2)  # 2: a module that cannot be collected
    assert failed == bool(code), done.stdout + done.stderr
