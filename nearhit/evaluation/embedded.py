"""Embedded: the texts of a measurement with their vectors, each text embedded once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]
"""From texts to ``(n, dim) float32, unit rows``."""


class Embedded:
    """Texts with their vectors.

    Args:
        texts: any number of them, repeats included.
        embed: is called once, with the distinct ones in their order.

    Raises:
        ConfigError: it gives another number of vectors.
    """

    def __init__(self, texts: Iterable[str], embed: Embed) -> None:
        self._place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        self._vectors = embed(list(self._place))
        if len(self._vectors) != len(self._place):
            raise ConfigError(f"the embedder gave {len(self._vectors)} vectors for {len(self._place)} texts")

    def vectors(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the rows of ``texts``, in their order."""
        return self._vectors[[self._place[text] for text in texts]]


def nearest(similarities: NDArray[np.float32], most: int) -> list[int]:
    """Return the places of the ``most`` largest similarities, the largest first; of equal ones the first in place."""
    some = min(most, len(similarities))
    if not some:
        return []
    best = np.argpartition(-similarities, some - 1)[:some]
    return [int(at) for at in best[np.argsort(-similarities[best], kind="stable")]]
