"""Checkpoints: whole or not there, and only for the very same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nearhit.bulk.checkpoint import Checkpoint, LoadProgress
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_saved_progress_is_found_again_for_the_same_files(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("{}\n")
    progress = LoadProgress(rows={str(data): 7}, accepted=5, rejected=2)
    Checkpoint(tmp_path / "at", [str(data)]).save(progress)
    assert Checkpoint(tmp_path / "at", [str(data)]).load() == progress


def test_a_file_that_has_changed_is_loaded_from_its_start(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("{}\n")
    Checkpoint(tmp_path / "at", [str(data)]).save(LoadProgress(rows={str(data): 7}))
    data.write_text("{}\n{}\n")
    assert Checkpoint(tmp_path / "at", [str(data)]).load() == LoadProgress()


def test_a_file_that_is_no_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "at").write_text("[]")
    with pytest.raises(ConfigError, match="is not a checkpoint"):
        Checkpoint(tmp_path / "at", []).load()


def test_nothing_is_remembered_without_a_path() -> None:
    checkpoint = Checkpoint(None, [])
    checkpoint.save(LoadProgress(accepted=1))
    checkpoint.remove()
    assert checkpoint.load() == LoadProgress()
