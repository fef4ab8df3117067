"""Vector cache: the vectors of the texts this process embedded last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearhit.errors import ConfigError
from nearhit.resilience.lru import Lru

if TYPE_CHECKING:
    from numpy.typing import NDArray


class VectorCache(Lru[str, "NDArray[np.float32]"]):
    """Text to unit vector, ``(dim,) float32`` and read-only, the least recently used dropped first.

    Args:
        max_entries: how many vectors are kept at most (1.5 KB each at 384 dimensions); 0 keeps none.

    Raises:
        ConfigError: ``max_entries`` is negative.
    """

    def __init__(self, max_entries: int) -> None:
        if max_entries < 0:
            raise ConfigError(f"max_entries={max_entries} is negative; 0 turns the vector cache off")
        super().__init__(max_entries)

    def put(self, key: str, value: NDArray[np.float32]) -> None:
        """Keep a copy of the vector, so that neither the caller's array nor its base can change the cache."""
        if self._limit:
            kept = np.array(value, dtype=np.float32, copy=True)
            kept.setflags(write=False)
            super().put(key, kept)
