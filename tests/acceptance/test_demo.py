"""`nearhit demo`, from a fresh home and without any setting: real server, real worker, everything through the queue."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import wait_until

from tests.support.terminal import Ended, Terminal, children_of, still_running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's home."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def demo(home: Path) -> Ended:
    """One run; what is set on this machine for other stacks must not reach it."""
    terminal = Terminal(home, NEARHIT_LOG_URL="valkey://127.0.0.1:1", NEARHIT_ENGINE="valkey-search")
    return terminal.run("demo", "--json", timeout_seconds=110)


@pytest.fixture
def summary(demo: Ended) -> dict[str, Any]:
    """Its figures."""
    figures: dict[str, Any] = demo.document["summary"]
    return figures


def test_the_demo_ends_well_and_leaves_nothing(demo: Ended, home: Path) -> None:
    assert (demo.code, demo.document["failures"]) == (0, [])
    assert list((home / "tmp").glob("nearhit-*")) == []


def test_every_answer_goes_through_the_queue_and_becomes_searchable(demo: Ended, summary: dict[str, Any]) -> None:
    fills = summary["fills"]
    assert fills["accepted"] == fills["searchable"] >= 200
    assert 0 < fills["lag_ms"]["p50"] <= fills["lag_ms"]["p99"]
    stored = next(line for line in demo.document["metrics"]["samples"] if line.startswith("nearhit_upserts_total"))
    assert float(stored.split()[-1]) == fills["accepted"]


def test_exact_repeats_all_hit_and_most_rewordings_do(summary: dict[str, Any]) -> None:
    kinds = summary["kinds"]
    assert kinds["exact"]["hits"] == kinds["exact"]["asked"]
    assert kinds["exact"]["wrong"] == 0
    assert kinds["rewording"]["hit_rate"] >= 0.5
    assert summary["hits"]["exact"] == kinds["exact"]["asked"]


def test_traps_are_mostly_refused_and_strangers_never_hit(summary: dict[str, Any]) -> None:
    kinds = summary["kinds"]
    assert kinds["trap"]["hit_rate"] < 0.5
    assert kinds["trap"]["misses"]["guard"] > 0
    assert kinds["stranger"]["hits"] == 0


def test_every_hit_and_miss_in_the_sample_says_why(demo: Ended) -> None:
    sample = demo.document["sample"]
    assert {row["kind"] for row in sample} == {"exact", "rewording", "trap", "stranger"}
    assert all(row["tier"] in {"exact", "semantic"} for row in sample if row["outcome"] == "hit")
    assert all(row["reason"] for row in sample if row["outcome"] == "miss")
    assert all(row["nearest"] and row["stages_ms"]["total"] > 0 for row in sample)


def test_a_demo_that_is_interrupted_stops_what_it_started(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    running = terminal.start("demo", "--json")
    wait_until(lambda: any(terminal.temporary.glob("nearhit-*/worker/worker.log")), 30, "a worker that was started")
    started = children_of(running.process.pid)
    ended = running.end(signal.SIGINT)
    assert ended.code == 130
    assert started, "the server, and by now the worker"
    assert still_running(started) == []
    assert list(terminal.temporary.glob("nearhit-*")) == []
