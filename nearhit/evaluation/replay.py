"""Replay: a stream of questions run through a cache in memory, the exact tier first, then the nearest that passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.domain.intervals import Share, share
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nearhit.domain.hit_policy import GuardPort
    from nearhit.evaluation.rows import StreamRow

    Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a stream met at one threshold.

    Attributes:
        threshold: the similarity from which a neighbour passes.
        guarded: a guard looked at those that passed.
        events: questions in the stream.
        exact: answered by the exact tier.
        semantic: answered by a neighbour.
        false: of those, with the answer of another cluster.
        refused: neighbours that the guard refused.
        by_source: semantic and false hits by the source of the question.
    """

    threshold: float
    guarded: bool
    events: int
    exact: int
    semantic: int
    false: int
    refused: int
    by_source: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def hit_rate(self) -> Share:
        """Questions answered from the cache, rightly or not, of all."""
        return share(self.exact + self.semantic, self.events)

    @property
    def false_share(self) -> Share:
        """False hits of the semantic hits."""
        return share(self.false, self.semantic)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "threshold": self.threshold,
            "guard": self.guarded,
            "events": self.events,
            "hit_rate": self.hit_rate.as_dict(),
            "exact_hits": self.exact,
            "semantic_hits": self.semantic,
            "false_hits": self.false,
            "false_share_of_semantic_hits": self.false_share.as_dict(),
            "guard_refusals": self.refused,
            "by_source": {
                name: {"semantic_hits": hits, "false_share": share(false, hits).as_dict()}
                for name, (hits, false) in self.by_source.items()
            },
        }


class Replay:
    """A stream with its vectors, ready to be run at any threshold.

    Args:
        rows: the stream, in time order.
        embed: texts to ``(n, dim) float32, unit rows``; called once, with the distinct texts.
        neighbours: how many of the nearest are looked at; a refused one falls through to the next.
    """

    def __init__(self, rows: Sequence[StreamRow], embed: Embed, *, neighbours: int = 4) -> None:
        self._rows = rows
        self._neighbours = neighbours
        texts = list(dict.fromkeys(row.prompt for row in rows))
        self._place = {text: number for number, text in enumerate(texts)}
        self._vectors = embed(texts)
        if len(self._vectors) != len(texts):
            raise ConfigError(f"the embedder gave {len(self._vectors)} vectors for {len(texts)} texts")
        self._rulings: dict[tuple[int, int, int], bool] = {}

    def run(self, threshold: float, guard: GuardPort | None = None) -> ReplayReport:
        """Return what the stream meets at ``threshold``, starting with an empty cache."""
        cached = np.empty_like(self._vectors)
        entries: list[StreamRow] = []
        known: set[str] = set()
        exact = semantic = false = refused = 0
        by_source: dict[str, tuple[int, int]] = {}
        for row in self._rows:
            if row.prompt in known:
                exact += 1
                continue
            vector = self._vectors[self._place[row.prompt]]
            found, passed_over = self._nearest(row, vector, cached[: len(entries)], entries, threshold, guard)
            refused += passed_over
            if found is not None:  # as in the product, a hit stores nothing
                wrong = found.cluster != row.cluster
                semantic += 1
                false += wrong
                hits, misses = by_source.get(row.source, (0, 0))
                by_source[row.source] = (hits + 1, misses + wrong)
            else:
                known.add(row.prompt)
                cached[len(entries)] = vector
                entries.append(row)
        return ReplayReport(
            threshold,
            guard is not None,
            len(self._rows),
            exact,
            semantic,
            false,
            refused,
            dict(sorted(by_source.items())),
        )

    def _nearest(
        self,
        row: StreamRow,
        vector: NDArray[np.float32],
        cached: NDArray[np.float32],
        entries: Sequence[StreamRow],
        threshold: float,
        guard: GuardPort | None,
    ) -> tuple[StreamRow | None, int]:
        """Return the nearest entry that passes, and how many the guard refused before it."""
        if not len(cached):
            return None, 0
        near = cached @ vector
        some = min(self._neighbours, len(near))
        best = np.argpartition(-near, some - 1)[:some]
        refused = 0
        for number in best[np.argsort(-near[best], kind="stable")]:
            if near[number] < threshold:
                break
            entry = entries[number]
            if guard is None:
                return entry, refused
            key = (id(guard), self._place[row.prompt], self._place[entry.prompt])
            if key not in self._rulings:
                self._rulings[key] = guard.judge(row.prompt, entry.prompt, float(near[number])).accepted
            if self._rulings[key]:
                return entry, refused
            refused += 1
        return None, refused
