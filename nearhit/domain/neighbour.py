"""Neighbour: an entry near a question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry near the query.

    Attributes:
        key: the entry's key on the server.
        similarity: cosine similarity, clamped to [-1, 1]; NaN where the stored vector is none.
        fields: the entry as the server holds it now, by the names of ``entry.READ_FIELDS``; empty when it is gone.
    """

    key: bytes
    similarity: float
    fields: dict[bytes, bytes]
