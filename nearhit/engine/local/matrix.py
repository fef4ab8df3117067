"""Matrix: the vectors of a replica by scope, in memory, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.engine.local.rows import ScopeRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.engine.local.codes import Codes

EXACT_ABOVE = 0.5
"""A row of at least this similarity is never left out of the nearest. Texts that mean the same are above it
with every embedding model in use: what may be approximate is only how near a miss was."""


class Matrix:
    """Vectors by scope and name. One thread writes, any number search.

    Args:
        codes: makes codes of vectors; shared by matrices of the same dimension.
        exact_above: below this similarity the nearest rows are approximate; -1 makes every search exact.
    """

    def __init__(self, codes: Codes, *, exact_above: float = EXACT_ABOVE) -> None:
        self._codes = codes
        self._exact_above = exact_above
        self._scopes: dict[bytes, ScopeRows] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, place: tuple[bytes, bytes]) -> bool:
        scope, name = place
        return scope in self._scopes and name in self._scopes[scope]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(rows.nbytes for rows in list(self._scopes.values()))

    def put(self, places: Sequence[tuple[bytes, bytes, int]], vectors: NDArray[np.float32]) -> None:
        """Add or replace vectors.

        Args:
            places: scope, name and the millisecond of the end of each.
            vectors: ``(len(places), dim) float32`` unit rows.
        """
        coded = self._codes.encode(vectors)
        for index, (scope, name, expires_ms) in enumerate(places):
            rows = self._scopes.get(scope)
            if rows is None:
                rows = self._scopes[scope] = ScopeRows(self._codes, self._exact_above)
            before = len(rows)
            rows.put(name, coded, index, expires_ms)
            self._size += len(rows) - before

    def drop(self, scope: bytes, name: bytes) -> None:
        """Remove a vector; nothing happens when there is none."""
        rows = self._scopes.get(scope)
        if rows is None or not rows.drop(name):
            return
        self._size -= 1
        if not len(rows):
            del self._scopes[scope]

    def drop_expired(self, now_ms: int) -> None:
        """Remove the vectors whose time is over."""
        for scope, rows in list(self._scopes.items()):
            for name in rows.expired(now_ms):
                self.drop(scope, name)

    def nearest(self, scope: bytes, vector: NDArray[np.float32], k: int, now_ms: int) -> list[tuple[bytes, float]]:
        """Return up to ``k`` names of a scope with similarities, nearest first, without expired ones.

        Args:
            scope: whose vectors to search.
            vector: ``(dim,) float32``, of unit length.
            k: how many at most.
            now_ms: milliseconds since the epoch.
        """
        rows = self._scopes.get(scope)
        return rows.nearest(vector, k, now_ms) if rows is not None and k > 0 else []
