"""Loading as one function, and what a load would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime

from nearhit import ConfigError, Metrics
from nearhit.bulk.estimate import embedding_dollars, estimate
from nearhit.bulk.load import LoadOptions, find_files, load_files
from nearhit.bulk.loader import Loader, Pace
from nearhit.bulk.rows import Columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.bulk.checkpoint import LoadProgress
    from nearhit.settings import Settings


def write_rows(path: Path, numbers: range) -> Path:
    rows = ({"prompt": f"what is number {n}", "answer": f"it is {n}"} for n in numbers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_glob_of_files_is_loaded_in_order_and_once(settings: Callable[..., Settings], tmp_path: Path) -> None:
    write_rows(tmp_path / "b.jsonl", range(3, 7))
    write_rows(tmp_path / "a.jsonl", range(3))
    found = find_files([str(tmp_path / "*.jsonl"), str(tmp_path / "a.jsonl")])
    assert [Path(name).name for name in found] == ["a.jsonl", "b.jsonl"]
    progress = load_files(settings(), [str(tmp_path / "*.jsonl")], LoadOptions(checkpoint=tmp_path / "at"))
    assert progress.accepted == 7
    assert Runtime(settings(), Metrics()).drain("bulk") == 7


def test_a_pattern_that_matches_nothing_is_named(settings: Callable[..., Settings], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file matches .*none-\*\.jsonl"):
        load_files(settings(), [str(tmp_path / "none-*.jsonl")])


def test_an_estimate_counts_good_and_bad_rows_and_changes_nothing(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = write_rows(tmp_path / "rows.jsonl", range(10))
    with path.open("a") as file:
        file.write("nonsense\n")
    found = estimate(settings(), [str(path)], "", Columns())
    assert (found.good, found.bad, found.tokens) == (
        10,
        1,
        round(sum(len(f"what is number {n}") for n in range(10)) / 4),
    )
    assert found.examples[0][0].endswith("rows.jsonl:11")
    assert Runtime(settings(), Metrics()).drain("bulk") == 0


def test_models_of_this_process_cost_nothing() -> None:
    assert embedding_dollars("local/minilm", 1_000_000) == 0.0


@pytest.mark.parametrize("wrong", [{"max_depth": 0}, {"batch": 0}, {"max_bad_share": 1.5}, {"max_bad_share": -0.1}])
def test_a_pace_that_could_never_load_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Pace(**wrong)


def test_progress_is_told_while_the_lane_is_full(settings: Callable[..., Settings], tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", range(20))
    runtime = Runtime(settings(), Metrics())
    told: list[int] = []

    def tell(progress: LoadProgress, _: Loader) -> None:
        told.append(progress.accepted)
        if told.count(10) > 3:  # once for the batch, then while it waits
            runtime.drain("bulk")

    load_files(settings(), [str(path)], LoadOptions(pace=Pace(batch=10, max_depth=10)), tell)
    assert (told.count(10), told[-1]) == (4, 20)
