"""Rows: labelled pairs and question streams, read from JSON lines (gzip too) and checked row by row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, convert

from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

R = TypeVar("R", bound=Struct)
RowFormat = Literal["pairs", "stream"]
Text = Annotated[str, Meta(min_length=1)]


class PairRow(Struct, frozen=True):
    """Would the answer to ``candidate`` be right for ``prompt``?

    Attributes:
        prompt: the question that is asked.
        candidate: the one whose answer is in the cache.
        same: whether its answer is right.
        kind: of the pair, for rates by kind.
        source: where it comes from, for rates by source.
        tenant: whose it is.
        scope: whose it is: an object as lookups take it, here as JSON with sorted keys.
        namespace: whose it is.
        judge: who gave the label, where that was no person.
    """

    prompt: Text
    candidate: Text
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


class StreamRow(Struct, frozen=True):
    """One question of a stream in time order; questions of one ``cluster`` share their answer."""

    prompt: Text
    cluster: Text
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
    """Return the rows of a file of pairs; raises as ``row_of`` and ``objects`` do."""
    return [row_of(PairRow, row, path, line) for line, row in objects(path)]


def read_stream(path: str | Path) -> list[StreamRow]:
    """Return the rows of a stream, in its order; raises as ``row_of`` and ``objects`` do."""
    return [row_of(StreamRow, row, path, line) for line, row in objects(path)]


def row_of(kind: type[R], row: dict[str, Any], path: str | Path, line: int) -> R:
    """Return a row as ``kind``; fields that it does not have are passed over.

    Raises:
        ConfigError: a field is missing or wrong; the message names the file, the line and the field.
    """
    scope = row.get("scope")
    if scope is not None and not isinstance(scope, dict):
        raise ConfigError(f"{path} line {line}: field 'scope' must be an object, not {scope!r}")
    text = "" if scope is None else json.dumps(scope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return convert({**row, "scope": text}, kind)
    except ValidationError as error:
        why, _, field = str(error).rstrip("`").rpartition("`")
        why = why.removesuffix(" - at ").replace("`", "")
        raise ConfigError(f"{path} line {line}: field {field.removeprefix('$.')!r}: {why}") from error


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
                    raise ConfigError(f"{path} line {number} is not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise ConfigError(f"{path} line {number} is not a JSON object")
                yield number, row
    except (OSError, EOFError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(f"{path} cannot be read: {why or error}") from error
