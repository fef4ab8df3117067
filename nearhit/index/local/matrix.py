"""Matrix: the vectors of a replica by scope, in memory, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.index.local.codes import Coded
from nearhit.index.local.rows import ScopeRows, nearest_of
from nearhit.index.local.small_scopes import MOST_ROWS, SmallScopes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.index.local.codes import Codes

EXACT_ABOVE = 0.5
"""A row of at least this similarity is never left out of the nearest. Texts that mean the same are above it
with every embedding model in use: what may be approximate is only how near a miss was."""

_SMALL_AGAIN_ROWS = MOST_ROWS // 2
"""A scope that has shrunk to this goes back to the small ones: half, so that it does not go to and fro."""


class Matrix:
    """Vectors by scope and name. One thread writes, any number search.

    Scopes of up to 512 vectors share arrays and are searched whole; larger ones have arrays with sign bits.

    Args:
        codes: makes codes of vectors; shared by matrices of the same dimension.
        exact_above: below this similarity the nearest rows are approximate; -1 makes every search exact.
    """

    def __init__(self, codes: Codes, *, exact_above: float = EXACT_ABOVE) -> None:
        self._codes = codes
        self._exact_above = exact_above
        self._small = SmallScopes(codes.dimension)
        self._large: dict[bytes, ScopeRows] = {}
        self._large_size = 0

    def __len__(self) -> int:
        return len(self._small) + self._large_size

    def __contains__(self, place: tuple[bytes, bytes]) -> bool:
        large = self._large.get(place[0])
        return place[1] in large if large is not None else place in self._small

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._small.nbytes + sum(rows.nbytes for rows in list(self._large.values()))

    def put(self, places: Sequence[tuple[bytes, bytes, int]], vectors: NDArray[np.float32]) -> None:
        """Add or replace vectors.

        Args:
            places: scope, name and the millisecond of the end of each.
            vectors: ``(len(places), dim) float32`` unit rows.
        """
        rows, scales = self._codes.quantised(vectors)
        coded: Coded | None = None
        for index, (scope, name, expires_ms) in enumerate(places):
            large = self._large.get(scope)
            if large is None:
                if self._small.put(scope, name, rows[index], scales[index], expires_ms):
                    continue
                large = self._enlarge(scope)
            if coded is None:
                coded = Coded(self._codes.bits(vectors), rows, scales)
            before = len(large)
            large.put(name, coded, index, expires_ms)
            self._large_size += len(large) - before

    def drop(self, scope: bytes, name: bytes) -> None:
        """Remove a vector; nothing happens when there is none."""
        large = self._large.get(scope)
        if large is None:
            self._small.drop(scope, name)
        elif large.drop(name):
            self._large_size -= 1
            if len(large) <= _SMALL_AGAIN_ROWS:
                self._small.put_all(scope, large.few())
                self._large_size -= len(large)
                del self._large[scope]  # last: a search finds the scope in one of the two

    def drop_expired(self, now_ms: int) -> None:
        """Remove the vectors whose time is over."""
        for scope, rows in list(self._large.items()):
            for name in rows.expired(now_ms):
                self.drop(scope, name)
        for scope, name in self._small.expired(now_ms):
            self.drop(scope, name)

    def nearest(self, scope: bytes, vector: NDArray[np.float32], k: int, now_ms: int) -> list[tuple[bytes, float]]:
        """Return up to ``k`` names of a scope with similarities, nearest first, without expired ones.

        Args:
            scope: whose vectors to search.
            vector: ``(dim,) float32``, of unit length.
            k: how many at most.
            now_ms: milliseconds since the epoch.
        """
        if k <= 0:
            return []
        large = self._large.get(scope)
        if large is None:
            few = self._small.get(scope)
            if few is not None:
                return nearest_of(few, vector, k, now_ms)
            large = self._large.get(scope)  # it may have grown between the two looks
        return large.nearest(vector, k, now_ms) if large is not None else []

    def _enlarge(self, scope: bytes) -> ScopeRows:
        """Give a scope arrays of its own."""
        few = self._small.get(scope)
        large = ScopeRows(self._codes, self._exact_above)
        if few is not None:
            rows = few.rows[: len(few.names)]
            coded = Coded(self._codes.bits(rows * few.scales[:, None]), rows, few.scales)
            for index, name in enumerate(few.names):
                large.put(name, coded, index, int(few.expires[index]))
        self._large[scope] = large
        self._large_size += len(large)
        self._small.remove(scope)
        return large
