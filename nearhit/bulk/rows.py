"""Rows: reads JSONL, CSV and Parquet as a stream of rows with their place, plain or compressed."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import itertools
import json
import re
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nearhit.errors import ConfigError, EntryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STDIN = "-"
FORMATS = ("jsonl", "csv", "parquet")
_SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_SEPARATORS = ",;\t"
_PROMPT_NAMES = ("prompt", "question", "query", "instruction", "input", "text")
_ANSWER_NAMES = ("answer", "response", "completion", "output", "reply")
MAX_LINE_BYTES = 32 * 1024 * 1024
_PARQUET_BATCH = 1024
_PARQUET_STREAM = {"buffer_size": 256 * 1024, "pre_buffer": False}
"""Without both, pyarrow (26.0) reads a whole row group at once, which may be all of a file."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file.

    Attributes:
        source: the file.
        number: its place there, from 1: a line of JSONL, a record of CSV or Parquet.
        values: its columns; empty when it cannot be read.
        problem: why it cannot be read; empty when it can.
    """

    source: str
    number: int
    values: Mapping[str, Any]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what. Empty names are guessed from each row's own columns.

    Attributes:
        prompt: column of the question.
        answer: column of the answer.
        scope: columns that belong to the scope.
    """

    prompt: str = ""
    answer: str = ""
    scope: tuple[str, ...] = ()

    def fill_row(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as ``fill_of`` takes it; columns that mean nothing to a fill are left out.

        Raises:
            EntryError: there is no column for the prompt or the answer; the message names what there is.
        """
        prompt = self.prompt or _first(values, _PROMPT_NAMES, "prompt")
        answer = self.answer or _first(values, _ANSWER_NAMES, "answer")
        for name in (prompt, answer, *self.scope):
            if name not in values:
                raise EntryError(f"the row has no column {name!r}, only {', '.join(sorted(map(str, values)))[:200]}")
        scope = values.get("scope") or {}
        if not isinstance(scope, Mapping):
            raise EntryError(f"column 'scope' holds {type(scope).__name__}, expected an object")
        row: dict[str, Any] = {"prompt": values[prompt], "answer": values[answer]}
        row["scope"] = {**scope, **{name: values[name] for name in self.scope if values[name] not in (None, "")}}
        for name in ("ttl_seconds", "fresh_seconds"):
            if values.get(name) not in (None, ""):
                row[name] = _number(values[name], name)
        for name in ("usage", "refresh", "scope_digest", "tenant_digest", "vector", "embedder"):
            if values.get(name):
                row[name] = values[name]
        return row


def format_of(path: str, wanted: str = "") -> str:
    """Return the format of a file by its name, or ``wanted``.

    Raises:
        ConfigError: the name says nothing, or the format is unknown.
    """
    if wanted:
        if wanted not in FORMATS:
            raise ConfigError(f"format must be one of {', '.join(FORMATS)}, not {wanted!r}")
        return wanted
    if path == STDIN:
        return "jsonl"
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in {".gz", ".zst"}]
    found = _SUFFIXES.get(suffixes[-1].lower() if suffixes else "")
    if found is None:
        raise ConfigError(f"{path}: its name does not say whether it is {', '.join(FORMATS)}; say it with --format")
    return found


def read_rows(path: str, kind: str, skip: int = 0) -> Iterator[Row]:
    """Yield the rows of a file in order, with memory for one of them (a batch, for Parquet).

    Args:
        path: a file, plain, ``.gz`` or ``.zst``, or ``-`` for standard input.
        kind: ``jsonl``, ``csv`` or ``parquet``.
        skip: rows to pass over, for example because an earlier run has loaded them.

    Raises:
        ConfigError: the file is not there, cannot be read, or needs a package that is not installed.
    """
    if kind == "parquet":
        yield from _parquet(path, skip)
        return
    reader = _jsonl if kind == "jsonl" else _csv
    with _opened(path) as lines:
        for row in reader(path, lines):
            if row.number > skip:
                yield row


def _jsonl(path: str, lines: IO[bytes]) -> Iterator[Row]:
    number = 0
    while line := lines.readline(MAX_LINE_BYTES):
        number += 1
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
            if line.startswith(b"["):
                raise ConfigError(
                    f"{path}: one JSON array, expected an object on each line: jq -c '.[]' {path} makes it so"
                )
        if len(line) >= MAX_LINE_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = lines.readline(MAX_LINE_BYTES)
            yield Row(path, number, {}, f"the line is longer than {MAX_LINE_BYTES} bytes")
        elif line.strip():
            yield _json_row(path, number, line)


def _json_row(path: str, number: int, line: bytes) -> Row:
    try:
        values = json.loads(line.decode())  # from bytes it would guess the encoding, and read half of a UTF-16 file
    except UnicodeDecodeError:
        return Row(path, number, {}, "not UTF-8")
    except (ValueError, RecursionError) as error:
        return Row(path, number, {}, f"not JSON: {error}")
    if not isinstance(values, dict):
        return Row(path, number, {}, f"not a JSON object but {type(values).__name__}")
    return Row(path, number, values)


def _csv(path: str, lines: IO[bytes]) -> Iterator[Row]:
    text = io.TextIOWrapper(lines, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(path, text)
    finally:
        text.detach()  # the file is its opener's to close


def _csv_rows(path: str, text: io.TextIOWrapper) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_BYTES)
    header = text.readline(MAX_LINE_BYTES)
    separator = max(_SEPARATORS, key=re.sub(r'"[^"]*"', "", header).count)  # the first where all are as often
    reader = csv.DictReader(itertools.chain([header] if header else [], text), strict=True, delimiter=separator)
    for number in itertools.count(1):
        try:
            values: dict[Any, Any] = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(path, number, {}, f"not CSV: {error}")
            continue
        if None in values:
            yield Row(path, number, {}, "more fields than the header has")
        elif any(isinstance(value, str) and not _is_unicode(value) for value in values.values()):
            yield Row(path, number, {}, "not UTF-8")
        else:
            yield Row(path, number, {name: value for name, value in values.items() if value is not None})


def _parquet(path: str, skip: int) -> Iterator[Row]:
    try:
        import pyarrow.parquet as parquet  # noqa: PLC0415 - an optional package of 40 MB
    except ImportError as error:
        raise ConfigError(f"{path}: Parquet needs the package pyarrow: pip install 'nearhit[parquet]'") from error
    try:
        number = 0
        with parquet.ParquetFile(path, **_PARQUET_STREAM) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
                if number + batch.num_rows <= skip:
                    number += batch.num_rows
                    continue
                for values in batch.to_pylist():
                    number += 1
                    if number > skip:
                        yield Row(path, number, {name: one for name, one in values.items() if one is not None})
    except OSError as error:  # pyarrow's own errors are OSError and ValueError
        raise ConfigError(f"{path}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not Parquet: {error}") from error


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    try:
        if path == STDIN:
            yield sys.stdin.buffer
        elif path.endswith(".gz"):
            with gzip.open(path, "rb") as file:
                yield file  # type: ignore[misc]  # a GzipFile reads bytes
        elif path.endswith(".zst"):
            with Path(path).open("rb") as raw, _zstd(path, raw) as file:
                yield file
        else:
            with Path(path).open("rb") as file:
                yield file
    except (OSError, EOFError) as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}" if isinstance(error, OSError) else f"{path}: cut off"
        ) from error


def _zstd(path: str, raw: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise ConfigError(f"{path}: .zst needs the package zstandard: pip install 'nearhit[parquet]'") from error
    stream: IO[bytes] = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))
    return stream


def _first(values: Mapping[str, Any], names: Sequence[str], what: str) -> str:
    for name in names:
        if name in values:
            return name
    spelled = {str(name).strip().lower(): name for name in values}
    for name in names:
        if name in spelled:
            return spelled[name]
    raise EntryError(f"no column looks like the {what}: {', '.join(sorted(map(str, values)))[:200]}; name it")


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise EntryError(f"column {name!r} holds {str(value)[:40]!r}, expected a number") from None


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
