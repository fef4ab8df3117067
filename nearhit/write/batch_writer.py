"""Batch writer: turns a batch of fills from the log into entries; what cannot be stored is retried or dead-lettered.

read or claim ─▶ decode ─▶ vectors: carried, known, embedded in one call ─▶ upsert ─▶ acknowledge
│                              │                          │
▼ never can                    ▼ not now                  ▼ not now
dead letter                 waits for its next try     waits for its next try
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from nearhit.domain import fill_message, vectors
from nearhit.domain.entry import Entry
from nearhit.domain.outcome import Stored
from nearhit.errors import ConfigError, ContractError, EntryError, MessageError, UnavailableError, VectorError
from nearhit.flow.steps import Embed, Flow
from nearhit.write.searchability_probe import SearchabilityProbe
from nearhit.write.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nearhit.domain.fill_message import Fill
    from nearhit.errors import NearhitError
    from nearhit.flow.runner import Runner
    from nearhit.index.space import Space
    from nearhit.telemetry.metrics import Metrics
    from nearhit.write.acknowledger import Acknowledger, Limits
    from nearhit.write.fill_log import Logged

SUSPECT_TRIES = 2
"""After so many failed tries of a fill its batch is split, for a text that the embedder fails over each time."""


@dataclass(slots=True)
class Work:
    """A fill in progress: where it lies in the log, what it says, and its vector once there is one."""

    row: Logged
    fill: Fill
    vector: bytes = b""

    def entry(self, embedder: str) -> Entry:
        """Return the entry that is written, made by ``embedder``."""
        fill = self.fill
        created_ms = fill.created_us // 1000
        return Entry(
            scope=fill.scope,
            tenant=fill.tenant,
            prompt=fill.prompt,
            response=fill.response,
            embedding=self.vector,
            embedder=embedder,
            created_us=fill.created_us,
            fresh_until_ms=created_ms + fill.fresh_ms,
            expires_ms=created_ms + fill.ttl_ms,
            usage=fill.usage,
            refresh=fill.refresh,
        )


class BatchWriter:
    """Stores batches of fills. Thread-safe: it keeps nothing between batches.

    Args:
        cache: runs flows against the cache server and the embedder.
        acknowledger: takes fills out of the log.
        metrics: where everything is counted.
        limits: bounds.
    """

    def __init__(self, cache: Runner, acknowledger: Acknowledger, metrics: Metrics, limits: Limits) -> None:
        self._cache = cache
        self._acknowledger = acknowledger
        self._metrics = metrics
        self._limits = limits
        self._verification = SearchabilityProbe(cache, metrics)

    def write(self, rows: Sequence[Logged], lane: str, space: Space) -> int:
        """Store what can be stored, put off what cannot now, dead-letter what never can; return how many were stored.

        Raises:
            StoreUnavailableError: the log's server does not answer; what is unfinished is claimed again later.
        """
        self._metrics.batch[lane].observe(len(rows))
        works = self._open(rows, lane)
        works = self._with_vectors(works, lane, space)
        return self._store(works, lane, space)

    def _open(self, rows: Sequence[Logged], lane: str) -> list[Work]:
        works, expired = [], []
        now_us = time.time_ns() // 1000
        for row in rows:
            if self._acknowledger.poisonous(row, lane):
                continue
            try:
                fill = fill_message.decode(row.blob)
            except MessageError as error:
                self._acknowledger.unreadable(row, lane, error)
                continue
            # No later answer could replace one from a clock that is ahead. The later of two clocks, ours and the log
            # server's, is the bound, so that one that is behind does no harm.
            fill = structs.replace(fill, created_us=min(fill.created_us, max(now_us, row.added_us)))
            if not fill.response:
                self._acknowledger.dead_letter(row, lane, "undecodable", "the fill has no answer")
            elif fill.created_us + fill.ttl_ms * 1000 <= now_us:
                expired.append(row)
            else:
                works.append(Work(row, fill))
        self._acknowledger.expire(expired, lane)
        return works

    def _with_vectors(self, works: list[Work], lane: str, space: Space) -> list[Work]:
        """Return the works that have a vector now; texts without one are embedded in one call, each text once."""
        lacking: dict[str, list[Work]] = {}
        ready = []
        for work in works:
            try:
                work.vector = _known_vector(work.fill, space)
            except VectorError as error:
                self._acknowledger.dead_letter(work.row, lane, "bad_vector", error)
                continue
            if work.vector:
                ready.append(work)
            else:
                lacking.setdefault(work.fill.prompt, []).append(work)
        ready += self._embed(lacking, lane, space)
        return ready

    def _embed(self, lacking: dict[str, list[Work]], lane: str, space: Space) -> list[Work]:
        if not lacking:
            return []
        texts = tuple(lacking)
        everyone = [work for works in lacking.values() for work in works]
        rows = [work.row for work in everyone]
        try:
            made = self._cache.run(_embed_all(texts, space.dimension), self._limits.embed_seconds)
        except (UnavailableError, ConfigError) as error:
            # a refused key or an unknown model is the operator's to mend: the fills wait for that, and are not lost
            if isinstance(error, ConfigError):
                self._metrics.count_error("embed", error)
            if len(texts) > 1 and max(row.tries for row in rows) >= SUSPECT_TRIES:
                return self._embed_around(lacking, lane, space, error)
            self._acknowledger.retry_later(rows, lane, "embedder", error)
            return []
        except ContractError as error:
            if len(texts) > 1:
                return self._embed_halves(lacking, lane, space)
            for row in rows:
                self._acknowledger.dead_letter(row, lane, "embedder_refused", error)
            return []
        for text, vector in zip(texts, made, strict=True):
            space.vectors.put(text, vector)
            for work in lacking[text]:
                work.vector = vectors.to_bytes(vector)
        return everyone

    def _embed_halves(self, lacking: dict[str, list[Work]], lane: str, space: Space) -> list[Work]:
        """Embed each half by itself: bisects until the failing text is isolated."""
        texts = tuple(lacking)
        half = len(texts) // 2
        parts = (texts[:half], texts[half:])
        return [work for part in parts for work in self._embed({text: lacking[text] for text in part}, lane, space)]

    def _embed_around(self, lacking: dict[str, list[Work]], lane: str, space: Space, error: NearhitError) -> list[Work]:
        """Embed a batch that failed again. A text alone says whether the embedder is down or a text brings it down."""
        first, *others = lacking
        rest = {text: lacking[text] for text in others}
        ready = self._embed({first: lacking[first]}, lane, space)
        if ready:
            return ready + self._embed_halves(rest, lane, space)
        self._acknowledger.retry_later([work.row for works in rest.values() for work in works], lane, "embedder", error)
        return []

    def _store(self, works: list[Work], lane: str, space: Space) -> int:
        if not works:
            return 0
        entries = [work.entry(space.keys.embedder) for work in works]
        try:
            results = self._cache.run(upsert(entries, space.keys), self._limits.store_seconds)
        except UnavailableError as error:
            self._acknowledger.retry_later([work.row for work in works], lane, "store", error)
            return 0
        except (EntryError, ContractError) as error:
            for work in works:
                self._acknowledger.dead_letter(work.row, lane, "refused", error)
            return 0
        now_ms = time.time_ns() // 1_000_000
        pairs = list(zip((work.row for work in works), results, strict=True))
        self._acknowledger.ack([row for row, result in pairs if result is not Stored.BUSY], lane)
        for row, result in pairs:
            self._metrics.upserts[lane, result].inc()
            if result is Stored.STORED and row.queued_ms:
                self._metrics.lag[lane].observe(max(0, now_ms - row.queued_ms) / 1000)
        self._acknowledger.busy([row for row, result in pairs if result is Stored.BUSY], lane)
        self._verification.sample(entries, results, space)
        return sum(result is Stored.STORED for result in results)


def _embed_all(texts: tuple[str, ...], dimension: int) -> Flow[NDArray[np.float32]]:
    made = yield Embed(texts)
    rows: NDArray[np.float32] = made.vectors
    if rows.shape != (len(texts), dimension):
        raise ContractError(f"the embedder gave vectors of shape {rows.shape}, expected ({len(texts)}, {dimension})")
    return rows


def _known_vector(fill: Fill, space: Space) -> bytes:
    """Return the vector that came with the fill, or that this process knows; empty when its text must be embedded.

    Raises:
        VectorError: what came is not a unit vector of the namespace's dimension.
    """
    if not fill.embedding or fill.embedder != space.keys.embedder:
        known = space.vectors.get(fill.prompt)
        return b"" if known is None else vectors.to_bytes(known)
    vector = vectors.from_bytes(fill.embedding, space.dimension)
    length = float(np.dot(vector, vector))
    if not 0.99 < length < 1.01:  # NaN fails this, too
        raise VectorError(f"the fill's vector has squared length {length}, expected 1")
    return fill.embedding
