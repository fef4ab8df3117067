"""Guards that never saw what they judge: trained without the fold, or without the source, of the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.guard_data import FOLDS, Data, Examples, folds
from bench.guard_network import Recipe, network_of
from nearhit.guard import Guard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearhit.guard import Verdict


class HeldOutGuard:
    """Judges each prompt with the guard that was trained without the prompt's group.

    Args:
        guards: a guard for each group.
        group_of: the group of a text.
    """

    def __init__(self, guards: dict[str, Guard], group_of: dict[str, str]) -> None:
        self._guards = guards
        self._group_of = group_of

    def judge(self, prompt: str, candidate: str, similarity: float) -> Verdict:
        """Return the verdict of the guard that knows neither the prompt nor its like."""
        return self._guards[self._group_of[prompt]].judge(prompt, candidate, similarity)


def by_fold(data: Data, made: Examples, recipe: Recipe, level: float) -> HeldOutGuard:
    """Return a guard in ``FOLDS`` parts, each trained on pairs of which neither text is in its fold."""
    fold_of = folds(data)
    ends = np.array([(fold_of[one], fold_of[other]) for one, other in made.texts])
    guards = {str(fold): _without(made, (ends == fold).any(axis=1), recipe, level) for fold in range(FOLDS)}
    return HeldOutGuard(guards, {text: str(fold) for text, fold in fold_of.items()})


def by_source(data: Data, made: Examples, recipe: Recipe, level: float) -> HeldOutGuard:
    """Return a guard in as many parts as there are sources, each trained on all the others."""
    sources = sorted(set(made.sources.tolist()))
    guards = {name: _without(made, made.sources == name, recipe, level) for name in sources}
    group_of = {text: row.source for row in data.pairs for text in (row.prompt, row.candidate)}
    group_of.update({row.prompt: row.source for stream in data.streams.values() for row in stream})
    return HeldOutGuard(guards, group_of)


def _without(made: Examples, held: NDArray[np.bool_], recipe: Recipe, level: float) -> Guard:
    kept = ~held
    network = network_of(made.values[kept], made.right[kept], made.weights[kept], recipe)
    return Guard(level=level, network=network)
