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
from contextlib import ExitStack, contextmanager
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
_SURROGATE = re.compile("[\ud800-\udfff]")
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

    @property
    def checked(self) -> Mapping[str, Any]:
        """Its columns.

        Raises:
            EntryError: it cannot be read.
        """
        if self.problem:
            raise EntryError(self.problem)
        return self.values


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
            value = values.get(name)
            if value not in (None, ""):
                try:
                    row[name] = float(value)
                except (TypeError, ValueError):
                    raise EntryError(f"column {name!r} holds {str(value)[:40]!r}, expected a number") from None
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
        yield from parquet_rows(path, skip)
        return
    with opened(path) as lines:
        for row in jsonl_rows(path, lines) if kind == "jsonl" else csv_rows(path, lines):
            if row.number > skip:
                yield row


def jsonl_rows(path: str, lines: IO[bytes]) -> Iterator[Row]:
    """Yield the rows of JSON lines; what is no JSON object is a row with a problem."""
    for number in itertools.count(1):
        line = lines.readline(MAX_LINE_BYTES)
        if not line:
            return
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if number == 1 and line.startswith(b"["):
            way_out = f"jq -c '.[]' {path} makes it so"
            raise ConfigError(f"{path}: one JSON array, expected an object on each line: {way_out}")
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
    wrong = "" if isinstance(values, dict) else f"not a JSON object but {type(values).__name__}"
    return Row(path, number, {} if wrong else values, wrong)


def csv_rows(path: str, lines: IO[bytes]) -> Iterator[Row]:
    """Yield the records of CSV with a header, separated by commas, semicolons or tabs."""
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(lines, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
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
            elif any(isinstance(value, str) and _SURROGATE.search(value) for value in values.values()):
                yield Row(path, number, {}, "not UTF-8")
            else:
                yield Row(path, number, {name: value for name, value in values.items() if value is not None})
    finally:
        text.detach()  # the file is its opener's to close


def parquet_rows(path: str, skip: int) -> Iterator[Row]:
    """Yield the records of a Parquet file behind the first ``skip``."""
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
def opened(path: str) -> Iterator[IO[bytes]]:
    """Give a file as bytes, unpacked where its name says that it is packed."""
    try:
        with ExitStack() as stack:
            if path == STDIN:
                yield sys.stdin.buffer
                return
            file: Any = stack.enter_context(Path(path).open("rb"))
            if path.endswith(".gz"):
                file = stack.enter_context(gzip.open(file, "rb"))
            elif path.endswith(".zst"):
                try:
                    import zstandard  # noqa: PLC0415 - an optional package
                except ImportError as error:
                    raise ConfigError(f"{path}: .zst needs zstandard: pip install 'nearhit[parquet]'") from error
                file = stack.enter_context(io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file)))
            yield file
    except (OSError, EOFError) as error:
        why = error.strerror or error if isinstance(error, OSError) else "cut off"
        raise ConfigError(f"{path}: {why}") from error


def _first(values: Mapping[str, Any], names: Sequence[str], what: str) -> str:
    spelled = {str(name).strip().lower(): name for name in values}
    for table in ({name: name for name in values}, spelled):
        for name in names:
            if name in table:
                return table[name]
    raise EntryError(f"no column looks like the {what}: {', '.join(sorted(map(str, values)))[:200]}; name it")
