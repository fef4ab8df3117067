"""Rows: reading labelled files."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from nearhit.errors import ConfigError
from nearhit.evaluation import PairRow, StreamRow, format_of, read_pairs, read_stream

if TYPE_CHECKING:
    from pathlib import Path

PAIR = {"prompt": "a?", "candidate": "b?", "same": True, "kind": "paraphrase", "source": "made"}
EVENT = {"prompt": "a?", "cluster": "c1", "id": 7}


def _write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_pairs_are_read_with_and_without_their_labels(tmp_path: Path) -> None:
    path = _write(tmp_path / "p.jsonl", PAIR, "", {"prompt": "x", "candidate": "y", "same": False})

    assert format_of(path) == "pairs"
    assert read_pairs(path) == [PairRow("a?", "b?", True, "paraphrase", "made"), PairRow("x", "y", False)]


def test_a_gzipped_stream_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "stream.data"
    path.write_bytes(gzip.compress(json.dumps(EVENT).encode()))

    assert format_of(path) == "stream"
    assert read_stream(path) == [StreamRow("a?", "c1")]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**PAIR, "prompt": ""}, "prompt"),
        ({**PAIR, "candidate": 3}, "candidate"),
        ({**PAIR, "same": "yes"}, "same"),
        ({**PAIR, "kind": None}, "kind"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, row: dict[str, Any], field: str) -> None:
    path = _write(tmp_path / "p.jsonl", PAIR, row)

    with pytest.raises(ConfigError, match=rf"line 2: field '{field}'"):
        read_pairs(path)


@pytest.mark.parametrize(("line", "said"), [("{", "line 1 is not JSON"), ("[]", "line 1 is not a JSON object")])
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_stream(_write(tmp_path / "s.jsonl", line))


def test_a_file_that_is_missing_empty_or_of_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        format_of(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="holds no rows"):
        format_of(_write(tmp_path / "e.jsonl"))
    with pytest.raises(ConfigError, match="neither field"):
        format_of(_write(tmp_path / "n.jsonl", {"prompt": "x"}))


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.gz"
    path.write_bytes(gzip.compress(json.dumps(PAIR).encode())[:40])

    with pytest.raises(ConfigError, match="cannot be read"):
        format_of(path)


def test_a_scope_of_many_words_is_kept_as_it_is(tmp_path: Path) -> None:
    scope = {"model": "m", "system": "x" * 1_000, "\0own": {"b": 1, "a": 2}}
    (row,) = read_pairs(_write(tmp_path / "p.jsonl", {**PAIR, "scope": scope}))
    assert json.loads(row.scope) == scope
