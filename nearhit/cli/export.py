"""Export: the command that writes what is cached."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from nearhit.cli.screen import Screen
    from nearhit.settings import Settings

DESCRIPTION = """
Writes what is cached as JSON lines, or as Parquet by the name of the file, so that `nearhit load` reads it again: the
scopes stay as they are, and entries keep what is left of their time to live.
"""
EXAMPLES = """
nearhit export > backup.jsonl
nearhit export --tenant acme --max-age-seconds 86400 --vectors --to acme.parquet
"""
_PARQUET_ROWS = 2_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--to", metavar="FILE", type=Path, help="a .jsonl or .parquet file; stdout without it")
    parser.add_argument("--min-age-seconds", metavar="S", type=float, default=0.0, help="entries at least so old")
    parser.add_argument("--max-age-seconds", metavar="S", type=float, default=0.0, help="entries at most so old")
    parser.add_argument("--vectors", action="store_true", help="with their vectors: loading embeds nothing")
    options.add_scope(parser)
    options.add_settings(parser, (*options.SERVERS, "model"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Write it.

    Raises:
        ConfigError: a setting or the file is wrong.
        StoreUnavailableError: the server does not answer.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    rows = _rows(arguments, settings)
    with ExitStack() as stack:
        if arguments.to is not None and arguments.to.suffix == ".parquet":
            count = _parquet(arguments.to, rows)
        else:
            target: Any = sys.stdout
            if arguments.to is not None:
                target = stack.enter_context(_opened(arguments.to))
            count = 0
            for row in rows:
                target.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
    screen.note(f"nearhit: exported {count} entries")
    return exits.OK


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _rows(arguments: argparse.Namespace, settings: Settings) -> Iterator[dict[str, Any]]:
    from nearhit.bulk.export import Chosen, exported  # noqa: PLC0415 - help needs none of it
    from nearhit.cli.servers import Servers  # noqa: PLC0415 - the same
    from nearhit.domain.scope import Scope, scope_digest, tenant_digest  # noqa: PLC0415 - the same
    from nearhit.index.litellm_layout import keys_of  # noqa: PLC0415 - the same

    scope = options.scope_of(arguments)
    tenant = tenant_digest(scope.get("tenant", ""))
    only_tenant = set(scope) <= {"tenant"}
    chosen = Chosen(
        scope="" if only_tenant else scope_digest(Scope.of(scope)),
        tenant=tenant,
        min_age_seconds=arguments.min_age_seconds,
        max_age_seconds=arguments.max_age_seconds,
        vectors=arguments.vectors,
    )
    with Servers(settings) as servers:
        servers.cache.ping()
        for record in servers.embedders():
            if record.model == settings.model:
                keys = keys_of(settings.namespace, record.fingerprint.id, settings.shared_index)
                yield from exported(servers.cache.run, keys, chosen)


def _parquet(path: Path, rows: Iterator[dict[str, Any]]) -> int:
    try:
        import pyarrow  # noqa: PLC0415 - an optional package of 40 MB
        import pyarrow.parquet  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ConfigError(f"{path}: Parquet needs the package pyarrow: pip install 'nearhit[parquet]'") from error
    names = ("prompt", "answer", "scope_digest", "tenant_digest", "ttl_seconds", "age_seconds", "vector", "embedder")
    schema = pyarrow.schema([(name, pyarrow.float64() if "seconds" in name else pyarrow.string()) for name in names])
    count = 0
    _opened(path).close()
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            if not isinstance(row["answer"], str):
                raise ConfigError(f"{path}: an answer is not text but {type(row['answer']).__name__}; export as .jsonl")
            batch.append({name: row.get(name) for name in names})
            count += 1
            if len(batch) == _PARQUET_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
                batch = []
        if batch:
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    return count
