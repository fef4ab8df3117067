"""Measure: from samples to a false-hit rate with bounds, and to the threshold that a broken budget asks for. Pure."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain.intervals import Share, share_at_any_look
from nearhit.domain.threshold_table import NAMESPACE, SETTINGS
from nearhit.verification.samples import ANEW, FALSE_HIT, TRUE_HIT, UNJUDGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nearhit.domain.threshold_table import ThresholdEntry
    from nearhit.verification.samples import Sample

STEP = 0.005
"""Thresholds that a raise chooses from are multiples of this."""

MIN_SAMPLES = 20
"""Judged samples before a threshold is raised: the bound holds from the first one on, but traffic comes in bursts."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What verification may do.

    Attributes:
        share: of semantic hits that may be false.
        ceiling: no threshold is raised above this; at or below the threshold in force, none is raised at all.
    """

    share: float
    ceiling: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What samples say.

    Attributes:
        true: hits whose answer was right.
        false: hits whose answer was wrong.
        unjudged: hits of which nobody could say.
        false_share: of those that were judged, with bounds that hold however often they are looked at.
    """

    true: int
    false: int
    unjudged: int
    false_share: Share

    def as_dict(self) -> dict[str, Any]:
        """Return the tally for JSON."""
        return {
            "true_hits": self.true,
            "false_hits": self.false,
            "unjudged": self.unjudged,
            "false_share": self.false_share.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Raise:
    """A threshold that verification asks for: from where, to where, and why."""

    before: float
    after: float
    why: str


def tally(samples: Iterable[Sample]) -> Tally:
    """Return what ``samples`` say."""
    counts = {TRUE_HIT: 0, FALSE_HIT: 0, UNJUDGED: 0}
    for one in samples:
        counts[one.verdict] += 1
    judged = counts[TRUE_HIT] + counts[FALSE_HIT]
    share = share_at_any_look(counts[FALSE_HIT], judged)
    return Tally(counts[TRUE_HIT], counts[FALSE_HIT], counts[UNJUDGED], share)


def in_force(samples: Iterable[Sample], entries: Mapping[str, ThresholdEntry]) -> dict[str, list[Sample]]:
    """Return the samples of hits under the thresholds as they are now, by the field of the entry that concerns them.

    What was sampled before an entry was set says nothing of what is a hit now, and is left out: so no sample is ever
    used for two raises. Samples under the setting belong to the namespace's entry, as long as there is none; those
    under another setting than the newest do not count.

    Args:
        samples: oldest first.
        entries: as they are now.
    """
    found: dict[str, list[Sample]] = {}
    for one in samples:
        field = NAMESPACE if one.origin == SETTINGS else one.origin
        if one.verdict == ANEW:
            found.pop(field, None)
            continue
        entry = entries.get(field)
        if one.since_ms == (entry.when_ms if entry is not None else 0) and (one.origin == SETTINGS) == (entry is None):
            group = found.setdefault(field, [])
            if group and one.origin == SETTINGS and group[-1].threshold != one.threshold:
                group.clear()
            group.append(one)
    return found


def raised(samples: Sequence[Sample], budget: Budget) -> Raise | None:
    """Return the raise that samples of one threshold ask for, or ``None``.

    The budget is broken when the lower bound of the false share is above it. The raise goes to the lowest threshold at
    which what was measured keeps the budget; it is measured again there, and raised again if necessary.
    """
    measured = tally(samples)
    judged = sorted((one for one in samples if one.verdict != UNJUDGED), key=lambda one: one.similarity)
    if len(judged) < MIN_SAMPLES or measured.false_share.low <= budget.share:
        return None
    before = min(one.threshold for one in judged)
    if before >= budget.ceiling:
        return None
    for step in itertools.count(math.floor(before / STEP + 1e-9) + 1):  # the multiples of STEP above it
        after = min(budget.ceiling, round(step * STEP, 6))
        kept = [one for one in judged if one.similarity >= after]
        if after == budget.ceiling or sum(one.verdict == FALSE_HIT for one in kept) <= budget.share * len(kept):
            break
    why = (
        f"{measured.false} false of {len(judged)} verified hits at {before:g}, at least "
        f"{measured.false_share.low:.1%}; budget {budget.share:.1%}"
    )
    return Raise(before, after, why)


def bands(samples: Iterable[Sample], width: float = 0.01) -> dict[float, Tally]:
    """Return what samples say by bands of similarity, by the lower end of each."""
    found: dict[float, list[Sample]] = {}
    for one in samples:
        low = min(1.0 - width, math.floor(one.similarity / width + 1e-9) * width)
        found.setdefault(round(low, 6), []).append(one)
    return {low: tally(some) for low, some in sorted(found.items())}
