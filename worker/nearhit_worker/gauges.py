"""Gauges: what each worker reports about state that all processes share: the log, the index, its recall."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nearhit.domain import entry, vectors
from nearhit.errors import StoreUnavailableError
from nearhit.flow.steps import Flow, ReplyError, Send, ask
from nearhit.telemetry.metrics import LANES, UNKNOWN
from nearhit.valkey import server_info
from nearhit.write import fill_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.flow.runner import Runner
    from nearhit.index.valkey_search import ValkeySearchEngine
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import CacheKeys, LogKeys
    from nearhit.write.fill_log import Depth

PROBE_SECONDS = 10.0
"""How often entries are asked for by their own vector."""

PROBES = 4
"""Entries asked for each time: a round trip and four searches in ten seconds are nothing beside the lookups."""

_DRAWN = 16
_SECONDS = 5.0
_NEIGHBOURS = 4
_SIMILAR = 0.999


class LogGauges:
    """Depth and age of the fill logs.

    Args:
        log: runs flows against the log's server.
        keys: names of the log.
        metrics: where the gauges are.
        lanes: whose logs.
    """

    def __init__(self, log: Runner, keys: LogKeys, metrics: Metrics, lanes: Sequence[str] = LANES) -> None:
        self._log = log
        self._lanes = lanes
        self._keys = keys
        self._metrics = metrics

    def observe(self) -> int:
        """Set the gauges; return how many fills are in the logs.

        Raises:
            StoreUnavailableError: the log's server does not answer; the gauges then say so.
        """
        total = 0
        now_ms = time.time_ns() // 1_000_000
        try:
            for lane in self._lanes:
                depth = self._log.run(fill_log.depth(self._keys, lane), _SECONDS)
                self._set(lane, depth, now_ms)
                total += depth.fills
            dead = self._log.run(ask(("XLEN", self._keys.dead)), _SECONDS)
            self._metrics.dead.set(dead if isinstance(dead, int) else 0)
        except StoreUnavailableError:
            for lane in self._lanes:
                self._set(lane, None, now_ms)
            self._metrics.dead.set(UNKNOWN)
            raise
        return total

    def _set(self, lane: str, depth: Depth | None, now_ms: int) -> None:
        metrics = self._metrics
        age = max(0, now_ms - depth.oldest_ms) / 1000 if depth and depth.oldest_ms else 0.0
        metrics.log_depth[lane].set(depth.fills if depth else UNKNOWN)
        metrics.log_pending[lane].set(depth.pending if depth else UNKNOWN)
        metrics.retrying[lane].set(depth.retrying if depth else UNKNOWN)
        metrics.log_age[lane].set(age if depth else UNKNOWN)


class IndexGauges:
    """Memory of the index in the server, and whether searches find what is in it.

    ``Maintenance`` reports its number of entries and its wear, which decide about its rotation.

    Args:
        cache: runs flows against the cache server.
        metrics: where the gauges are.
    """

    def __init__(self, cache: Runner, metrics: Metrics) -> None:
        self._cache = cache
        self._metrics = metrics
        self._probe_at = 0.0

    def observe(self, engine: ValkeySearchEngine, keys: CacheKeys) -> None:
        """Set the gauges, and now and then ask for some entries by their own vectors.

        Raises:
            NearhitError: the server or the index does not answer.
        """
        metrics = self._metrics
        info = self._cache.run(engine.info(), _SECONDS)
        metrics.index_backfill.set(info.backfill_share)
        about = self._cache.run(server_info.section("search"), _SECONDS)
        metrics.index_memory.set(int(about.get("search_used_memory_bytes", 0)))
        if time.monotonic() >= self._probe_at:
            self._probe_at = time.monotonic() + PROBE_SECONDS
            for scope, blob in self._cache.run(random_entries(keys), _SECONDS):
                found = self._cache.run(engine.search(scope, vectors.from_bytes(blob), _NEIGHBOURS), _SECONDS)
                outcome = "found" if any(one.similarity >= _SIMILAR for one in found) else "missed"
                metrics.probes[outcome].inc()

    def forget(self) -> None:
        """Say of every gauge of the index that its state cannot be seen."""
        metrics = self._metrics
        for gauge in (
            *(metrics.entries, metrics.index_vector_bytes, metrics.index_memory, metrics.reclaimable),
            *(metrics.index_failures, metrics.index_backfill, metrics.generation),
        ):
            gauge.set(UNKNOWN)


def random_entries(keys: CacheKeys) -> Flow[list[tuple[str, bytes]]]:
    """Return scope and vector of some entries drawn at random."""
    drawn = yield Send((("RANDOMKEY",),) * _DRAWN)
    prefix = keys.prefix.encode()
    names = list({one for one in drawn if isinstance(one, bytes) and one.startswith(prefix)})[:PROBES]
    if not names:
        return []
    rows = yield Send(tuple(("HMGET", name, entry.SCOPE, entry.EMBEDDING) for name in names))
    return [(row[0].decode(), row[1]) for row in rows if not isinstance(row, ReplyError) and row[0] and row[1]]
