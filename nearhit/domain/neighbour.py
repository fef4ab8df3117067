"""Neighbour: an entry near a question, as the search finds it and as a lookup chooses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from nearhit.domain.entry import Entry


class Neighbour(Struct, frozen=True):
    """An entry near the question.

    Attributes:
        key: the entry's key on the server.
        similarity: cosine similarity, clamped to [-1, 1]; NaN where the stored vector is none.
        fields: the entry as the server holds it now, by the names of ``entry.READ_FIELDS``; empty when it is gone.
    """

    key: bytes
    similarity: float
    fields: dict[bytes, bytes]


class Chosen(Struct, frozen=True):
    """The entry that answers.

    Attributes:
        key: of the entry.
        entry: what it holds.
        similarity: to the question.
        probability: the guard's chance of a right answer; ``None`` where no guard gave one.
    """

    key: bytes
    entry: Entry
    similarity: float
    probability: float | None = None
