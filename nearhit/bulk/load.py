"""Load: loads files into a cache, as one function."""

from __future__ import annotations

import glob
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit.assembly import wakeup_of
from nearhit.bulk.checkpoint import Checkpoint, LoadProgress
from nearhit.bulk.loader import Loader, Pace
from nearhit.bulk.rows import STDIN, Columns, format_of
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ConfigError
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.telemetry.metrics import Metrics
from nearhit.valkey.durability import FSYNC
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How files are loaded.

    Attributes:
        format: ``jsonl``, ``csv`` or ``parquet`` for all files; empty decides by their names.
        columns: which columns hold what.
        pace: how fast, and how many bad rows are tolerated.
        checkpoint: file that remembers how far it came; ``None`` for none.
        rejects: file that takes bad rows; ``None`` drops them after counting.
    """

    format: str = ""
    columns: Columns = field(default_factory=Columns)
    pace: Pace = field(default_factory=Pace)
    checkpoint: Path | None = None
    rejects: Path | None = None


def load_files(
    settings: Settings,
    patterns: Sequence[str],
    options: LoadOptions | None = None,
    tell: Callable[[LoadProgress, Loader], None] = lambda _progress, _loader: None,
) -> LoadProgress:
    """Put every row of the files onto the bulk lane; workers make them searchable. Returns when the log has all.

    Args:
        settings: which cache.
        patterns: files, globs, or ``-`` for standard input.
        options: how.
        tell: is told the progress after every batch, and while the lane is full.

    Raises:
        ConfigError: a file is not there or cannot be read, or too many rows are bad.
        StoreUnavailableError: the log's server was away too long; the same call continues where it stopped.
    """
    options = options or LoadOptions()
    files = [(path, format_of(path, options.format)) for path in find_files(patterns)]
    metrics = Metrics(namespace=settings.namespace)
    wakeup = wakeup_of(settings, settings.log_server(), metrics)
    gate = Gate(CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), metrics, "bulk")
    link = link_for(settings.log_server().client())
    runner = Runner(link, embedder_for(settings.model), gate)
    pace = replace(options.pace, confirm=settings.durability == FSYNC)
    loader = Loader(runner, LogKeys(settings.namespace), settings.lifetimes(), wakeup, options.columns, pace)
    with ExitStack() as stack:
        stack.callback(link.close)
        stack.callback(wakeup.close)
        target = options.rejects or Path("/dev/null")
        resumed = options.checkpoint is not None and options.checkpoint.exists()
        rejects = stack.enter_context(target.open("a" if resumed else "w", encoding="utf-8"))
        checkpoint = Checkpoint(options.checkpoint, [path for path, _ in files])
        return loader.load(files, checkpoint, rejects, lambda progress: tell(progress, loader))


def find_files(patterns: Sequence[str]) -> list[str]:
    """Return the files that names and globs match, in order, each once.

    Raises:
        ConfigError: a pattern matches nothing; the message names it.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = (
            [pattern] if pattern == STDIN or Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - may be absolute
        )
        if not matches:
            raise ConfigError(f"no file matches {pattern!r}")
        found.update(dict.fromkeys(matches))
    return list(found)
