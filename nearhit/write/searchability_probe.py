"""Searchability probe: looks for an entry right after it was written, since valkey-search may skip a vector silently.

HSET succeeds and the entry counts as a document, but no search ever finds it: a vector of another size is skipped so
(``hash_indexing_failures`` rises), and so is one whose every near vector in the graph is dead (nothing rises but an
exception count of the whole server, valkey-search 1.2.1).
"""

from __future__ import annotations

import logging
import time
from enum import StrEnum
from typing import TYPE_CHECKING

from nearhit.domain import vectors
from nearhit.domain.entry import prompt_digest
from nearhit.domain.outcome import Stored
from nearhit.errors import NearhitError
from nearhit.flow.steps import Flow, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.domain.entry import Entry
    from nearhit.flow.runner import Runner
    from nearhit.index.space import Space
    from nearhit.telemetry.metrics import Metrics

log = logging.getLogger("nearhit")

PAUSE_SECONDS = 0.25
"""Shortest time from one look to the next: a search each quarter of a second is nothing beside the writes."""

_NEIGHBOURS = 16
_SAME = 1 - 1e-5
_SECONDS = 2.0


class ProbeResult(StrEnum):
    """What a look for a written entry gave. A closed set: it is a metric label."""

    FOUND = "found"
    MISSING = "missing"
    GONE = "gone"
    FAILED = "failed"


class SearchabilityProbe:
    """Looks for one entry of a batch, now and then, and counts what came of it. Never raises, never holds up a write.

    Args:
        runner: runs flows against the cache server.
        metrics: where it is counted.
    """

    def __init__(self, runner: Runner, metrics: Metrics) -> None:
        self._runner = runner
        self._metrics = metrics
        self._due = 0.0

    def sample(self, entries: Sequence[Entry], results: Sequence[Stored], space: Space) -> None:
        """Look for the last entry that was stored, if it is time; only where the server searches."""
        if space.engine.name != "valkey-search" or time.monotonic() < self._due:
            return
        stored = [one for one, result in zip(entries, results, strict=True) if result is Stored.STORED]
        if not stored:
            return
        self._due = time.monotonic() + PAUSE_SECONDS
        try:
            found = self._runner.run(look_for(stored[-1], space), _SECONDS)
        except NearhitError:  # counted by the runner's gate; the entry itself is written
            found = ProbeResult.FAILED
        self._metrics.write_verifications[found].inc()
        if found is ProbeResult.MISSING:
            log.warning("a written entry is not searchable", extra={"action": "verify"})


def look_for(one: Entry, space: Space) -> Flow[ProbeResult]:
    """Search for an entry by its own vector.

    Entries with the very same vector may fill all places before it; then it is taken as found.
    """
    key = space.keys.entry(one.scope, prompt_digest(one.prompt))
    vector = vectors.from_bytes(one.embedding, space.dimension)
    near = list((yield from space.engine.search(one.scope, vector, _NEIGHBOURS)))
    if any(found.key == key.encode() for found in near):
        return ProbeResult.FOUND
    if len(near) == _NEIGHBOURS and near[-1].similarity >= _SAME:
        return ProbeResult.FOUND
    there = yield from ask(("HGET", key, "created"))
    same = isinstance(there, bytes) and there == b"%d" % one.created_us
    return ProbeResult.MISSING if same else ProbeResult.GONE
