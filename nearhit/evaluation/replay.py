"""Replay: a stream of questions run through a cache in memory, the exact tier first, then the nearest that passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.domain.intervals import Share, share
from nearhit.evaluation.embedded import Embed, Embedded, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.domain.hit_policy import GuardPort
    from nearhit.evaluation.rows import StreamRow


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
        self._vectors = Embedded((row.prompt for row in rows), embed).vectors(row.prompt for row in rows)
        self._rulings: dict[tuple[int, str, str], bool] = {}

    def run(self, threshold: float, guard: GuardPort | None = None) -> ReplayReport:
        """Return what the stream meets at ``threshold``, starting with an empty cache."""
        cached = np.empty_like(self._vectors)
        entries: list[StreamRow] = []
        known: set[str] = set()
        exact = semantic = false = refused = 0
        by_source: dict[str, tuple[int, int]] = {}
        for row, vector in zip(self._rows, self._vectors, strict=True):
            if row.prompt in known:
                exact += 1
                continue
            near = cached[: len(entries)] @ vector
            for number in nearest(near, self._neighbours):
                found = entries[number]
                if near[number] < threshold:
                    continue
                if guard is not None and not self._accepts(guard, row.prompt, found.prompt, float(near[number])):
                    refused += 1
                    continue
                semantic += 1  # as in the product, a hit stores nothing
                wrong = found.cluster != row.cluster
                false += wrong
                hits, misses = by_source.get(row.source, (0, 0))
                by_source[row.source] = (hits + 1, misses + wrong)
                break
            else:
                known.add(row.prompt)
                cached[len(entries)] = vector
                entries.append(row)
        counts = (len(self._rows), exact, semantic, false, refused)
        return ReplayReport(threshold, guard is not None, *counts, dict(sorted(by_source.items())))

    def _accepts(self, guard: GuardPort, prompt: str, candidate: str, similarity: float) -> bool:
        key = (id(guard), prompt, candidate)
        if key not in self._rulings:
            self._rulings[key] = guard.judge(prompt, candidate, similarity).accepted
        return self._rulings[key]
