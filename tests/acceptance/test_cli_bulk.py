"""The commands for bulk work, against a real worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import Stack, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack({"NEARHIT_THRESHOLD": "0.8", "NEARHIT_MODEL": "hash/64"}) as one:
        yield one


def command(stack: Stack, *arguments: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "nearhit", *arguments], {**os.environ, **stack.settings}


def nearhit(stack: Stack, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    what, env = command(stack, *arguments)
    return subprocess.run(what, env=env, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def write_rows(path: Path, count: int, word: str = "number") -> str:
    path.write_text("".join(json.dumps({"q": f"what is {word} {n}", "reply": f"{n}"}) + "\n" for n in range(count)))
    return path.name


def test_a_file_is_loaded_exported_and_found(stack: Stack, tmp_path: Path) -> None:
    name = write_rows(tmp_path / "rows.jsonl", 300)
    done = nearhit(stack, "load", name, "--prompt", "q", "--answer", "reply", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["accepted"], last["rejected"], last["waiting"], last["finished"]) == (300, 0, 0, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"], "neither checkpoint nor rejects are left"
    done = nearhit(stack, "lookup", "what is number 77", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["answer"] == "77"
    done = nearhit(stack, "export", "--to", "out.parquet", folder=tmp_path)
    assert "exported 300 entries" in done.stderr
    done = nearhit(stack, "load", "out.parquet", "--dry-run", "--json", folder=tmp_path)
    assert json.loads(done.stdout)["good"] == 300
    for target in ("none/out.jsonl", "none/out.parquet"):
        done = nearhit(stack, "export", "--to", target, folder=tmp_path)
        assert (done.returncode, done.stderr) == (2, f"nearhit: {target}: No such file or directory\n")


def test_a_load_of_a_moment_has_a_rate(stack: Stack, tmp_path: Path) -> None:
    name = write_rows(tmp_path / "few.jsonl", 5, "moment")
    done = nearhit(stack, "load", name, "--prompt", "q", "--answer", "reply", "--json", folder=tmp_path)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["stored"] == 5
    assert last["rows_per_second"] == pytest.approx(5 / last["seconds"], rel=0.1)


def test_the_last_word_of_a_load_is_what_is_stored(stack: Stack, tmp_path: Path) -> None:
    name = write_rows(tmp_path / "one.jsonl", 1, "word")
    done = nearhit(stack, "load", name, "--prompt", "q", "--answer", "reply", folder=tmp_path)
    assert done.stderr == ""
    assert done.stdout.startswith("1 row stored and searchable, 0 bad, in ")
    name = write_rows(tmp_path / "away.jsonl", 3, "away")
    away = ("--namespace", "nobody-works-here", "--no-wait", "--json")
    done = nearhit(stack, "load", name, "--prompt", "q", "--answer", "reply", *away, folder=tmp_path)
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["accepted"], last["stored"], last["waiting"]) == (3, 0, 3)


def test_bad_rows_are_kept_with_their_place_and_the_exit_code_says_so(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,answer\nwhat is a,1\n,2\nwhat is c\n")
    done = nearhit(stack, "load", "rows.csv", folder=tmp_path)
    assert done.returncode == 1
    assert "2 rows were bad" in done.stderr
    assert [json.loads(line)["row"] for line in (tmp_path / "rejects.jsonl").read_text().splitlines()] == [2, 3]


def test_a_load_that_was_killed_goes_on_and_doubles_nothing(stack: Stack, tmp_path: Path) -> None:
    name = write_rows(tmp_path / "rows.jsonl", 30_000, "thing")
    options = ("load", name, "--prompt", "q", "--answer", "reply", "--json", "--max-depth", "2000")
    what, env = command(stack, *options)
    with subprocess.Popen(what, env=env, cwd=tmp_path, stdout=subprocess.DEVNULL) as first:
        checkpoint = tmp_path / ".nearhit-load.json"
        wait_until(lambda: checkpoint.exists() and '"accepted": 0' not in checkpoint.read_text(), 30, "a checkpoint")
        first.send_signal(signal.SIGKILL)
    before = json.loads(checkpoint.read_text())["progress"]["accepted"]
    assert 0 < before < 30_000
    done = nearhit(stack, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["accepted"] == 30_000
    done = nearhit(stack, "export", folder=tmp_path)
    prompts = [json.loads(line)["prompt"] for line in done.stdout.splitlines()]
    things = [prompt for prompt in prompts if "thing" in prompt]
    assert len(things) == len(set(things)) == 30_000


def test_watch_tells_lanes_workers_and_hit_rate(stack: Stack, tmp_path: Path) -> None:
    assert stack.worker is not None
    done = nearhit(
        stack,
        "watch",
        "--count",
        "2",
        "--every",
        "0.2",
        "--json",
        "--metrics",
        stack.worker.metrics_url,
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert set(last["lanes"]) == {"interactive", "bulk"}
    assert last["workers"] == 1
    assert last["metrics"]["mean_lag_seconds"] is not None
    done = nearhit(stack, "watch", "--count", "1", folder=tmp_path)
    assert "dead letters" in done.stdout
