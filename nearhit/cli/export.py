"""Export: the command that writes what is cached."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from nearhit.bulk.export import Chosen, exported
from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, PATH, Arguments, command, option
from nearhit.cli.screen import Screen, counted
from nearhit.cli.servers import Servers
from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.errors import ConfigError
from nearhit.index.litellm_layout import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nearhit.settings import Settings

EXAMPLES = """
nearhit export > backup.jsonl
nearhit export --tenant acme --max-age-seconds 86400 --vectors --to acme.parquet
"""
_PARQUET_ROWS = 2_000
_PROGRESS_ROWS = 100


@command(EXAMPLES)
@option("--to", metavar="FILE", type=PATH, help="a .jsonl or .parquet file; stdout without it")
@option("--min-age-seconds", metavar="S", type=FLOAT, default=0.0, help="only entries at least this old")
@option("--max-age-seconds", metavar="S", type=FLOAT, default=0.0, help="only entries at most this old")
@option("--vectors", is_flag=True, help="with their vectors, so that loading embeds nothing")
@options.scope
@options.settings(*options.SERVERS, "model")
def run(arguments: Arguments, screen: Screen) -> int:
    """Write what is cached as JSON lines or Parquet, so that `nearhit load` reads it again.

    The name of the file says which. The scopes stay as they are, and entries keep what is left of their time to live.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    path = arguments.to
    if path is not None and path.suffix not in {"", ".json", ".jsonl", ".ndjson", ".parquet"}:
        raise ConfigError(f"--to {path}: export writes .jsonl or .parquet, not {path.suffix}")
    rows = exported_rows(arguments, settings, screen)
    if path is not None and path.suffix == ".parquet":
        count = write_parquet(path, rows)
    else:
        count = 0
        with nullcontext(sys.stdout) if path is None else opened(path, path) as target:
            for count, row in enumerate(rows, 1):  # noqa: B007 - its last value is the number of rows
                target.write(json.dumps(row, ensure_ascii=False) + "\n")
    screen.end_progress()
    screen.note(f"nearhit: exported {counted(count, 'entry', 'entries')}")
    return exits.OK


def opened(path: Path, named: Path) -> IO[str]:
    """Return the file at ``path``, open for writing."""
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{named}: {error.strerror}") from error


def exported_rows(arguments: Arguments, settings: Settings, screen: Screen) -> Iterator[dict[str, Any]]:
    """Give the rows that the options ask for, and show how far it has come where that does not disturb the rows."""
    scope = options.scope_of(arguments)
    chosen = Chosen(
        scope="" if set(scope) <= {"tenant"} else scope_digest(Scope.of(scope)),
        tenant=tenant_digest(scope.get("tenant", "")),
        min_age_seconds=arguments.min_age_seconds,
        max_age_seconds=arguments.max_age_seconds,
        vectors=arguments.vectors,
    )
    shown = screen.watched and (arguments.to is not None or not sys.stdout.isatty())
    whole = not (scope or arguments.min_age_seconds or arguments.max_age_seconds)
    with Servers(settings) as servers:
        servers.cache.ping()
        for record in servers.embedders():
            if record.model != settings.model:
                continue
            keys = keys_of(settings.namespace, record.id, settings.shared_index)
            total = sum(1 for _ in servers.cache.names(f"{keys.prefix}*")) if shown and whole else None
            for count, row in enumerate(exported(servers.cache.run, keys, chosen), 1):
                if shown and count % _PROGRESS_ROWS == 0:
                    screen.progress("exported", count, total)
                yield row


def write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    """Write rows to a Parquet file, which appears when all of them are in it; return how many there were."""
    try:
        import pyarrow  # noqa: PLC0415 - an optional package of 40 MB
        import pyarrow.parquet  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ConfigError(f"{path}: Parquet needs the package pyarrow: pip install 'nearhit[parquet]'") from error
    names = ("prompt", "answer", "scope_digest", "tenant_digest", "ttl_seconds", "age_seconds", "vector", "embedder")
    schema = pyarrow.schema([(name, pyarrow.float64() if "seconds" in name else pyarrow.string()) for name in names])
    count, beside = 0, path.with_name(f"{path.name}.new")
    opened(beside, path).close()
    try:
        with pyarrow.parquet.ParquetWriter(beside, schema) as writer:
            while batch := list(islice(rows, _PARQUET_ROWS)):
                kinds = {type(row["answer"]).__name__ for row in batch} - {"str"}
                if kinds:
                    raise ConfigError(f"{path}: an answer is not text but {min(kinds)}; export as .jsonl")
                chosen = [{name: row.get(name) for name in names} for row in batch]
                writer.write_table(pyarrow.Table.from_pylist(chosen, schema))
                count += len(batch)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return count
