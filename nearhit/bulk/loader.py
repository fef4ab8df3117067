"""Loader: streams rows into the bulk lane, no faster than the workers take them out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from nearhit.bulk.rows import read_rows
from nearhit.errors import ConfigError, ContractError, StoreUnavailableError
from nearhit.valkey import durability, server_info
from nearhit.write import fill_log
from nearhit.write.fill_encoding import fill_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from nearhit.bulk.checkpoint import Checkpoint, LoadProgress
    from nearhit.bulk.rows import Columns, Row
    from nearhit.domain.hit_policy import Lifetimes
    from nearhit.flow.runner import Runner
    from nearhit.valkey.key_names import LogKeys
    from nearhit.write.wakeup import WakeUp

LANE = "bulk"
_SECONDS = 10.0
_FIRST_ROWS = 200
"""Rows after which the share of bad ones is first checked."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a load may go.

    Attributes:
        batch: rows sent to the log at once.
        max_depth: fills in the bulk lane above which the load waits.
        max_memory_share: share of the log server's ``maxmemory`` above which it waits, where there is a maxmemory.
        max_bad_share: share of bad rows above which it stops, once ``200`` rows were seen.
        outage_seconds: how long it waits for a log server that does not answer before it stops, resumable.
        confirm: wait after each batch until the log server's disk has it.
    """

    batch: int = 256
    max_depth: int = 20_000
    max_memory_share: float = 0.8
    max_bad_share: float = 0.5
    outage_seconds: float = 300.0
    confirm: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1 or self.max_depth < 1:
            raise ConfigError(f"batch and max_depth must be at least 1, not {self.batch} and {self.max_depth}")
        if not 0 <= self.max_bad_share <= 1:
            raise ConfigError(f"max_bad_share is a share from 0 to 1, not {self.max_bad_share:g}")


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads files into a cache through its bulk lane.

    What the log has accepted is in the checkpoint before the next batch is sent; a row that was sent twice because the
    process died in between leaves one entry.

    Attributes:
        runner: runs flows against the log's server.
        keys: names of the log.
        lifetimes: for rows that say nothing of their own.
        wakeup: how workers are told.
        columns: which columns hold what.
        pace: how fast.
    """

    runner: Runner
    keys: LogKeys
    lifetimes: Lifetimes
    wakeup: WakeUp
    columns: Columns
    pace: Pace

    def load(
        self,
        files: list[tuple[str, str]],
        checkpoint: Checkpoint,
        rejects: IO[str],
        tell: Callable[[LoadProgress], None] = lambda _: None,
    ) -> LoadProgress:
        """Put every good row of the files into the log and every bad one into ``rejects``; return the progress.

        Args:
            files: paths with their formats.
            checkpoint: where to continue, and where progress is saved.
            rejects: takes one JSON object a line: ``file``, ``row``, ``reason``.
            tell: is told the progress after every batch, and while the lane is full.

        Raises:
            ConfigError: a file cannot be read, too many rows are bad, or the log's server cannot confirm a batch.
            StoreUnavailableError: the log's server was away for longer than ``outage_seconds``; run it again.
        """
        if self.pace.confirm:
            self.runner.run(durability.trial(self.keys), 2 * durability.CONFIRM_SECONDS)
        progress = checkpoint.load()
        for path, kind in files:
            rows = read_rows(path, kind, progress.rows.get(path, 0))
            while batch := list(islice(rows, self.pace.batch)):
                blobs = list(self._messages(batch, rejects, progress))
                self._send(blobs, lambda: tell(progress))
                progress.accepted += len(blobs)
                progress.rows[path] = batch[-1].number
                rejects.flush()
                checkpoint.save(progress)
                tell(progress)
                seen = progress.accepted + progress.rejected
                if seen >= _FIRST_ROWS and progress.rejected > self.pace.max_bad_share * seen:
                    raise ConfigError(
                        f"{progress.rejected} of {seen} rows are bad, more than {self.pace.max_bad_share:.0%}: "
                        "see the rejects, or allow more with --max-bad"
                    )
        checkpoint.remove()
        return progress

    def waiting(self) -> int:
        """Return how many fills of the bulk lane are not yet stored or given up."""
        return self.runner.run(fill_log.depth(self.keys, LANE), _SECONDS).fills

    def _messages(self, batch: list[Row], rejects: IO[str], progress: LoadProgress) -> Iterator[bytes]:
        for row in batch:
            try:
                yield fill_of({**self.columns.fill_row(row.checked), "lane": LANE}, self.lifetimes)[1]
            except (ContractError, ConfigError) as error:
                progress.rejected += 1
                line = {"file": row.source, "row": row.number, "reason": str(error)}
                rejects.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _send(self, blobs: list[bytes], waits: Callable[[], None]) -> None:
        end = time.monotonic() + self.pace.outage_seconds
        while blobs:
            try:
                if self.has_room():
                    now_ms = time.time_ns() // 1_000_000
                    flow = fill_log.accept(self.keys, LANE, blobs, now_ms)
                    fill_log.write(self.runner, flow, _SECONDS, confirm=self.pace.confirm)
                    self.wakeup.notify(LANE)
                    return
                end = time.monotonic() + self.pace.outage_seconds  # full is no outage: workers will make room
            except StoreUnavailableError:
                if time.monotonic() > end:
                    raise
            else:
                waits()
            time.sleep(0.05)

    def has_room(self) -> bool:
        """Return whether lane and memory of the log's server are below their bounds."""
        if self.waiting() >= self.pace.max_depth:
            return False
        memory = self.runner.run(server_info.section("memory"), _SECONDS)  # empty where INFO is not allowed
        most = int(memory.get("maxmemory", 0))
        return not most or int(memory.get("used_memory", 0)) < self.pace.max_memory_share * most
