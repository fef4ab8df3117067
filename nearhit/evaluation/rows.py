"""Rows: labelled pairs and question streams, read from JSON lines (gzip too) and checked row by row."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

RowFormat = Literal["pairs", "stream"]


@dataclass(frozen=True, slots=True)
class PairRow:
    """Would the answer to ``candidate`` be right for ``prompt``?"""

    prompt: str
    candidate: str
    same: bool
    kind: str = ""
    source: str = ""
    tenant: str = ""
    scope: str = ""
    namespace: str = ""
    judge: str = ""

    @property
    def whose(self) -> tuple[str, ...]:
        """The caller whose traffic it is: tenant, namespace, scope."""
        return self.tenant, self.namespace, self.scope


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One question of a stream in time order; questions of one ``cluster`` share their answer."""

    prompt: str
    cluster: str
    source: str = ""


def format_of(path: str | Path) -> RowFormat:
    """Return which format the first row of ``path`` has.

    Raises:
        ConfigError: the file cannot be read, is empty, or its first row is of neither format.
    """
    for line, row in objects(path):
        if "candidate" in row:
            return "pairs"
        if "cluster" in row:
            return "stream"
        raise ConfigError(f"{path} line {line}: neither field 'candidate' (pairs) nor 'cluster' (stream) is there")
    raise ConfigError(f"{path} holds no rows")


def read_pairs(path: str | Path) -> list[PairRow]:
    """Return the rows of a file of pairs: ``prompt``, ``candidate``, ``same``; maybe ``kind``, ``source``, whose.

    Whose they are, ``tenant`` and ``namespace`` (texts) and ``scope`` (an object as lookups take it, kept as JSON
    with sorted keys) may say; ``judge``, who gave the label where it was no person.

    Raises:
        ConfigError: the file cannot be read, or a row is wrong; the message names the line and the field.
    """
    name = str(path)
    return [pair_of(row, name, line) for line, row in objects(path)]


def pair_of(row: dict[str, Any], path: str, line: int) -> PairRow:
    """Return the labelled pair that a row is.

    Raises:
        ConfigError: the row is wrong; the message names the file, the line and the field.
    """
    return PairRow(
        text_of(row, "prompt", path, line),
        text_of(row, "candidate", path, line),
        _truth(row, "same", path, line),
        scope=scope_of(row, path, line),
        **{name: label_of(row, name, path, line) for name in ("kind", "source", "tenant", "namespace", "judge")},
    )


def read_stream(path: str | Path) -> list[StreamRow]:
    """Return the rows of a stream, in its order: ``prompt``, ``cluster``, and maybe ``source``.

    Raises:
        ConfigError: the file cannot be read, or a row is wrong; the message names the line and the field.
    """
    name = str(path)
    return [
        StreamRow(
            text_of(row, "prompt", name, line), text_of(row, "cluster", name, line), label_of(row, "source", name, line)
        )
        for line, row in objects(path)
    ]


def objects(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file of JSON lines with their line numbers; empty lines are passed over.

    Raises:
        ConfigError: the file cannot be read, or a line is no JSON object.
    """
    path = Path(path)
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ConfigError(f"{path} line {number} is no JSON: {error}") from error
                if not isinstance(row, dict):
                    raise ConfigError(f"{path} line {number} is no JSON object")
                yield number, row
    except (OSError, EOFError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(f"{path}: {why or f'cannot be read as JSON lines: {error}'}") from error


def text_of(row: dict[str, Any], field: str, path: str, line: int) -> str:
    """Return a field that must be a text; raises ``ConfigError``, which names the line, where it is none."""
    value = row.get(field)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{path} line {line}: field {field!r} must be a text that is not empty, not {value!r}")
    return value


def label_of(row: dict[str, Any], field: str, path: str, line: int) -> str:
    """Return a field that may be a text, empty where it is not there; raises as ``text_of`` does."""
    value = row.get(field, "")
    if not isinstance(value, str):
        raise ConfigError(f"{path} line {line}: field {field!r} must be a text, not {value!r}")
    return value


def scope_of(row: dict[str, Any], path: str, line: int) -> str:
    """Return the field ``scope`` as JSON with sorted keys, empty where it is not there; raises as ``text_of`` does."""
    value = row.get("scope")
    if value is None:
        return ""
    if not isinstance(value, dict):
        raise ConfigError(f"{path} line {line}: field 'scope' must be an object, not {value!r}")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _truth(row: dict[str, Any], field: str, path: str, line: int) -> bool:
    value = row.get(field)
    if not isinstance(value, bool):
        raise ConfigError(f"{path} line {line}: field {field!r} must be true or false, not {value!r}")
    return value
