"""Metrics: precision, recall and false hits of a threshold on labelled pairs, with or without a guard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.domain.intervals import Share, share
from nearhit.evaluation.embedded import Embed, Embedded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nearhit.domain.hit_policy import GuardPort
    from nearhit.evaluation.rows import PairRow


@dataclass(frozen=True, slots=True)
class Rates:
    """What became of some pairs at one threshold.

    Attributes:
        same: pairs that share an answer.
        different: pairs that do not.
        same_accepted: right hits.
        different_accepted: false hits.
        refused: pairs that passed the threshold and that the guard refused.
        reasons: for which reason, and how often.
    """

    same: int
    different: int
    same_accepted: int
    different_accepted: int
    refused: int
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def precision(self) -> Share:
        """Right hits of all hits."""
        return share(self.same_accepted, self.same_accepted + self.different_accepted)

    @property
    def recall(self) -> Share:
        """Right hits of all pairs that share an answer."""
        return share(self.same_accepted, self.same)

    @property
    def false_hit_rate(self) -> Share:
        """False hits of all pairs that do not share an answer."""
        return share(self.different_accepted, self.different)

    @property
    def false_share(self) -> Share:
        """False hits of all hits."""
        return share(self.different_accepted, self.same_accepted + self.different_accepted)

    @property
    def refusal_rate(self) -> Share:
        """Pairs that the guard refused, of those that passed the threshold."""
        return share(self.refused, self.refused + self.same_accepted + self.different_accepted)

    def as_dict(self) -> dict[str, Any]:
        """Return the rates for JSON."""
        return {
            "pairs": self.same + self.different,
            "same": self.same,
            "precision": self.precision.as_dict(),
            "recall": self.recall.as_dict(),
            "false_hit_rate": self.false_hit_rate.as_dict(),
            "false_share_of_hits": self.false_share.as_dict(),
            "refusal_rate": self.refusal_rate.as_dict(),
            "reasons": self.reasons,
        }


@dataclass(frozen=True, slots=True)
class PairsReport:
    """Rates of one threshold: all pairs, the strict ones, by kind, and by source.

    ``strict`` leaves out the kind ``same_intent``, whose pairs share an answer but do not ask the same.
    """

    threshold: float
    guarded: bool
    overall: Rates
    strict: Rates
    by_kind: dict[str, Rates]
    by_source: dict[str, Rates]

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "threshold": self.threshold,
            "guard": self.guarded,
            "overall": self.overall.as_dict(),
            "strict": self.strict.as_dict(),
            "by_kind": {name: rates.as_dict() for name, rates in self.by_kind.items()},
            "by_source": {name: rates.as_dict() for name, rates in self.by_source.items()},
        }


def pair_similarities(rows: Sequence[PairRow], embed: Embed) -> NDArray[np.float32]:
    """Return the similarity of each pair; every distinct text is embedded once."""
    embedded = Embedded((text for row in rows for text in (row.prompt, row.candidate)), embed)
    left, right = (embedded.vectors(getattr(row, name) for row in rows) for name in ("prompt", "candidate"))
    similarities: NDArray[np.float32] = np.einsum("ij,ij->i", left, right)
    return similarities


def refusals(rows: Sequence[PairRow], similarities: Sequence[float], guard: GuardPort) -> list[str | None]:
    """Return for each pair why the guard refuses it, or ``None`` where it accepts."""
    rulings = (
        guard.judge(row.prompt, row.candidate, float(near)) for row, near in zip(rows, similarities, strict=True)
    )
    return [None if ruling.accepted else str(ruling.reason or "refused") for ruling in rulings]


def evaluate_pairs(
    rows: Sequence[PairRow],
    similarities: Sequence[float],
    threshold: float,
    refused: Sequence[str | None] | None = None,
) -> PairsReport:
    """Return what ``threshold`` makes of the pairs.

    Args:
        rows: the pairs.
        similarities: of each pair, from ``pair_similarities``.
        threshold: the similarity from which a pair passes.
        refused: of each pair, from ``refusals``; without it, the threshold decides alone.
    """
    reasons = refused if refused is not None else [None] * len(rows)
    near = [similarity >= threshold for similarity in similarities]
    numbers = range(len(rows))

    def rates(chosen: Sequence[int]) -> Rates:
        hits = [n for n in chosen if near[n] and reasons[n] is None]
        same = sum(rows[n].same for n in chosen)
        right = sum(rows[n].same for n in hits)
        why = Counter(reason for n in chosen if near[n] and (reason := reasons[n]) is not None)
        return Rates(same, len(chosen) - same, right, len(hits) - right, sum(why.values()), dict(sorted(why.items())))

    return PairsReport(
        threshold,
        refused is not None,
        rates(numbers),
        rates([n for n in numbers if rows[n].kind != "same_intent"]),
        {name: rates(chosen) for name, chosen in _groups([row.kind for row in rows]).items()},
        {name: rates(chosen) for name, chosen in _groups([row.source for row in rows]).items()},
    )


def _groups(labels: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        if label:
            groups.setdefault(label, []).append(number)
    return dict(sorted(groups.items()))
