"""Loads on a real log: back-pressure, resuming, rejects, and entries that answer."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.runtime import Runtime

from nearhit import Metrics, SemanticCache
from nearhit.bulk.checkpoint import Checkpoint, LoadProgress
from nearhit.bulk.loader import Loader, Pace
from nearhit.bulk.rows import Columns
from nearhit.errors import ConfigError
from nearhit.write.wakeup import NoWakeUp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nearhit.settings import Settings


@pytest.fixture
def runtime(settings: Callable[..., Settings]) -> Runtime:
    return Runtime(settings(), Metrics())


def loader(runtime: Runtime, pace: Pace | None = None) -> Loader:
    lifetimes = runtime.settings.lifetimes()
    return Loader(runtime.log, runtime.keys, lifetimes, NoWakeUp(), Columns(), pace or Pace(batch=10))


def write_rows(path: Path, count: int) -> list[tuple[str, str]]:
    rows = ({"prompt": f"what is number {n}", "answer": f"it is {n}"} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [(str(path), "jsonl")]


def test_every_row_of_a_file_becomes_an_entry(
    runtime: Runtime, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    files = write_rows(tmp_path / "rows.jsonl", 57)
    progress = loader(runtime).load(files, Checkpoint(None, []), io.StringIO())
    assert runtime.drain("bulk") == progress.accepted == 57
    with SemanticCache(settings()) as cache:
        assert cache.warm_up(20)
        prompts = [f"what is number {n}" for n in range(57)]
        assert [hit and hit.answer for hit in cache.lookup_many(prompts)] == [f"it is {n}" for n in range(57)]


def test_bad_rows_go_to_the_rejects_with_their_place_and_reason(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "q", "answer": "a"}\n{"prompt": "", "answer": "a"}\nnonsense\n{"prompt": "z"}\n')
    rejects = io.StringIO()
    progress = loader(runtime).load([(str(path), "jsonl")], Checkpoint(None, []), rejects)
    lines = [json.loads(line) for line in rejects.getvalue().splitlines()]
    assert (progress.accepted, progress.rejected) == (1, 3)
    assert [(line["row"], line["reason"].split(":")[0]) for line in lines] == [
        (2, "the prompt cannot be cached"),
        (3, "not JSON"),
        (4, "no column looks like the answer"),
    ]


def test_a_load_that_is_mostly_bad_is_stopped(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("nonsense\n" * 300)
    with pytest.raises(ConfigError, match="200 of 200 rows are bad"):
        loader(runtime).load([(str(path), "jsonl")], Checkpoint(None, []), io.StringIO())


def test_a_load_that_was_interrupted_goes_on_where_it_was(runtime: Runtime, tmp_path: Path) -> None:
    files = write_rows(tmp_path / "rows.jsonl", 95)
    place = tmp_path / "at"

    def interrupt(progress: LoadProgress) -> None:
        if progress.accepted == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loader(runtime).load(files, Checkpoint(place, [files[0][0]]), io.StringIO(), interrupt)
    assert loader(runtime).waiting() == 40
    progress = loader(runtime).load(files, Checkpoint(place, [files[0][0]]), io.StringIO())
    assert (progress.accepted, loader(runtime).waiting()) == (95, 95)
    assert not place.exists()


def test_a_load_waits_while_the_lane_is_full(runtime: Runtime, tmp_path: Path) -> None:
    files = write_rows(tmp_path / "rows.jsonl", 60)
    deepest = 0
    loading = loader(runtime, Pace(batch=10, max_depth=20))

    def look(_: LoadProgress) -> None:
        nonlocal deepest
        deepest = max(deepest, loading.waiting())

    thread = threading.Thread(target=loading.load, args=(files, Checkpoint(None, []), io.StringIO(), look))
    thread.start()
    stored = 0
    while thread.is_alive() or loading.waiting():
        stored += runtime.drain("bulk")
    thread.join()
    assert stored == 60
    assert deepest < 20 + 10
