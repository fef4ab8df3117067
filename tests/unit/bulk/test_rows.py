"""Rows of files: every format, every kind of bad row, flat memory."""

from __future__ import annotations

import gzip
import json
import random
import tracemalloc
from typing import TYPE_CHECKING

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from nearhit.bulk.rows import Columns, format_of, read_rows
from nearhit.errors import ConfigError, EntryError

if TYPE_CHECKING:
    from pathlib import Path

LINES = [{"prompt": f"q{n}", "answer": f"a{n}"} for n in range(1, 6)]


def jsonl(rows: list[dict[str, str]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_json_lines_are_read_plain_and_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    data = jsonl(LINES)
    packed = {"": data, ".gz": gzip.compress(data, mtime=0), ".zst": zstandard.ZstdCompressor().compress(data)}
    path.write_bytes(packed[suffix])
    assert [row.values for row in read_rows(str(path), format_of(str(path)))] == LINES


def test_csv_is_read_with_quotes_newlines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbfquestion,answer\n"a, ""b""","two\nlines"\n')
    rows = list(read_rows(str(path), "csv"))
    assert [dict(row.values) for row in rows] == [{"question": 'a, "b"', "answer": "two\nlines"}]


def test_a_parquet_file_of_one_row_group_is_never_held_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    noise = random.Random(1)
    wide = [noise.randbytes(4_000).hex() for _ in range(12_000)]  # 92 MiB, and nothing that could be compressed away
    table = pyarrow.table({"prompt": [f"question {n}" for n in range(len(wide))], "answer": wide})
    pyarrow.parquet.write_table(table, path, row_group_size=len(wide), compression="none")
    del table, wide
    before = pyarrow.total_allocated_bytes()
    most, count = 0, 0
    for row in read_rows(str(path), "parquet"):
        count += 1
        most = max(most, pyarrow.total_allocated_bytes() - before)
        assert row.values["prompt"] == f"question {count - 1}"
    assert count == 12_000
    assert most < 32 * 2**20


def test_parquet_is_read_and_a_part_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(LINES), path)
    rows = list(read_rows(str(path), format_of(str(path)), skip=3))
    assert [(row.number, row.values["prompt"]) for row in rows] == [(4, "q4"), (5, "q5")]


def test_bad_rows_are_named_with_their_line_and_do_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "q", "answer": "a"}\nnot json\n[1]\n\xff\xfe\n\n{"prompt": "z", "answer": "b"}\n')
    rows = list(read_rows(str(path), "jsonl"))
    assert [(row.number, bool(row.problem)) for row in rows] == [
        (1, False),
        (2, True),
        (3, True),
        (4, True),
        (6, False),
    ]


def test_csv_that_is_not_utf8_or_has_too_many_fields_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,answer\n\xff,a\nq,a,more\nq,a\n")
    rows = list(read_rows(str(path), "csv"))
    assert [row.problem for row in rows] == ["not UTF-8", "more fields than the header has", ""]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("gone.jsonl", None, "No such file"),
        ("cut.jsonl.gz", gzip.compress(jsonl(LINES), mtime=0)[:-12], "cut off"),
        ("no.parquet", b"PAR1 nonsense", "Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes | None, reason: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=reason) as caught:
        list(read_rows(str(path), format_of(str(path))))
    assert name in str(caught.value)


def test_a_name_that_says_no_format_is_refused() -> None:
    with pytest.raises(ConfigError, match="--format"):
        format_of("rows.dat")


def test_columns_are_guessed_and_named_columns_go_first() -> None:
    values = {"question": "q", "text": "t", "response": "r", "lang": "en", "ttl_seconds": "60"}
    assert Columns().fill_row(values) == {"prompt": "q", "answer": "r", "scope": {}, "ttl_seconds": 60.0}
    named = Columns(prompt="text", scope=("lang",)).fill_row(values)
    assert (named["prompt"], named["scope"]) == ("t", {"lang": "en"})


@pytest.mark.parametrize("values", [{"answer": "a"}, {"prompt": "q"}, {"prompt": "q", "answer": "a", "scope": "x"}])
def test_a_row_without_what_is_needed_says_what_is_missing(values: dict[str, str]) -> None:
    with pytest.raises(EntryError, match=r"prompt|answer|scope"):
        Columns().fill_row(values)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(LINES) * 40_000)
    tracemalloc.start()
    count = sum(1 for _ in read_rows(str(path), "jsonl"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.csv", b"Question;Answer\nwhat, is it;a b\n"),
        ("rows.tsv", b"question\tAnswer\nwhat, is it\ta b\n"),
        ("rows.csv", b'"QUESTION, or; so; on",Question, Answer\n,"what, is it",a b\n'),
    ],
    ids=["semicolons", "tabs", "commas, with others in quotes"],
)
def test_separator_and_columns_are_guessed_however_they_are_spelled(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    (row,) = read_rows(str(path), format_of(name))
    filled = Columns().fill_row(row.values)
    assert (filled["prompt"], filled["answer"]) == ("what, is it", "a b")


def test_a_json_array_is_named_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(LINES, indent=1))
    with pytest.raises(ConfigError, match=r"one JSON array.*jq -c"):
        list(read_rows(str(path), "jsonl"))


def test_every_line_in_another_encoding_is_bad_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(LINES).decode().encode("utf-16"))
    assert all(row.problem for row in read_rows(str(path), "jsonl"))
    path.write_bytes(b"\xef\xbb\xbf" + jsonl(LINES))
    assert [row.values for row in read_rows(str(path), "jsonl")] == LINES
