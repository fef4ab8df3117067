"""Replica: the entries of one load and all changes since, in memory, without I/O."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.domain import entry, vectors
from nearhit.errors import VectorError
from nearhit.index.local.matrix import Matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nearhit.flow.steps import Command
    from nearhit.index.local.codes import Codes

_log = logging.getLogger(__name__)

_LENGTH_TOLERANCE = 1e-3
_ROOM_SHARE = 0.9


def read_vector(blob: Any, dimension: int) -> NDArray[np.float32] | None:
    """Return the unit vector of an entry's field; ``None`` when it cannot be one."""
    if not isinstance(blob, bytes):
        return None
    try:
        vector = vectors.from_bytes(blob, dimension)
    except VectorError:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(vector @ vector)
    return vector if abs(length - 1.0) < _LENGTH_TOLERANCE else None  # NaN is not near one either


def read_milliseconds(blob: Any) -> int | None:
    """Return the time of an entry's field; ``None`` when it is no 63-bit number."""
    try:
        value = int(blob)
    except (TypeError, ValueError):
        return None
    return value if abs(value) < 2**63 else None


class Replica:
    """The vectors of the entries under a prefix, up to a bound. One thread writes, any number search.

    Args:
        codes: makes codes of vectors.
        prefix: what every entry key begins with.
        max_entries: from this size on new entries are left out; known ones are still updated and removed.

    Attributes:
        left_out: how often an entry found no room.
        skipped: how often an entry had no readable key, vector or end.
    """

    def __init__(self, codes: Codes, prefix: str, max_entries: int) -> None:
        self._prefix = prefix.encode()
        self._dimension = codes.dimension
        self._max_entries = max_entries
        self._matrix = Matrix(codes)
        self.left_out = 0
        self.skipped = 0

    def __len__(self) -> int:
        return len(self._matrix)

    @property
    def full(self) -> bool:
        """Whether new entries are left out."""
        return len(self._matrix) >= self._max_entries

    @property
    def has_room_again(self) -> bool:
        """Whether entries were left out for which there is room now."""
        return self.left_out > 0 and len(self._matrix) < _ROOM_SHARE * self._max_entries

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self._matrix.nbytes

    def fetch(self, key: bytes) -> Command:
        """Return the command whose reply ``apply`` takes for an entry."""
        return ("HMGET", key, entry.EMBEDDING, entry.EXPIRES)

    def apply(self, keys: Sequence[bytes], replies: Sequence[Any]) -> None:
        """Bring entries to what the server holds now: add, replace or remove them.

        Args:
            keys: the entries' keys, each once.
            replies: the reply to ``fetch`` of each, in the same order; an exception is an error reply.
        """
        places: list[tuple[bytes, bytes, int]] = []
        rows: list[NDArray[np.float32]] = []
        for key, reply in zip(keys, replies, strict=True):
            rest = key[len(self._prefix) :] if key.startswith(self._prefix) else b""  # else it is no entry's key
            scope, _, name = rest.rpartition(b":")
            blob, end = reply if isinstance(reply, list) else (b"", None)
            vector, expires_ms = read_vector(blob, self._dimension), read_milliseconds(end)
            if vector is None or expires_ms is None or not scope:
                self.skipped += blob is not None or end is not None
                self._matrix.drop(scope, name)
            elif len(self._matrix) + len(places) < self._max_entries or (scope, name) in self._matrix:
                places.append((scope, name, expires_ms))
                rows.append(vector)
            else:
                self.leave_out(1)
        if rows:
            self._matrix.put(places, np.stack(rows))

    def leave_out(self, count: int) -> None:
        """Count entries that found no room; the first time the log says what to do."""
        if not self.left_out and count:
            _log.warning(
                "the local replica is full and leaves entries out: use the valkey-search engine,"
                " spread the cache over namespaces, or raise max_entries",
                extra={"action": "replica_full", "max_entries": self._max_entries},
            )
        self.left_out += count

    def drop_expired(self, now_ms: int) -> None:
        """Remove entries whose time is over; the server announces that nowhere."""
        self._matrix.drop_expired(now_ms)

    def nearest(self, scope: str, vector: NDArray[np.float32], k: int, now_ms: int) -> list[tuple[bytes, float]]:
        """Return up to ``k`` entry keys of a scope with similarities, nearest first, without expired ones."""
        lead = self._prefix + scope.encode() + b":"
        found = self._matrix.nearest(scope.encode(), vector, k, now_ms)
        return [(lead + name, similarity) for name, similarity in found]
