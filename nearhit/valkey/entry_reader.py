"""Entry reader: fetches whole entries by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.domain import entry
from nearhit.domain.entry import Entry
from nearhit.errors import EntryError
from nearhit.flow.steps import Flow, ReplyError, Send

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOLE = (*entry.READ_FIELDS, entry.TENANT, entry.LARGE_RESPONSE)


def read(
    keys: Sequence[str | bytes], stage: str = "store", *, vectors: bool = False
) -> Flow[list[Entry | EntryError | ReplyError | None]]:
    """Return the entries under some keys, in order, in one round trip.

    ``None`` stands for a key without an entry, an error for what cannot be read: an ``EntryError`` for broken fields,
    a ``ReplyError`` for a key of another type or one that the user may not read.

    Args:
        keys: of the entries.
        stage: under which name the time is counted.
        vectors: with their vectors.

    Raises:
        StoreUnavailableError: the server does not answer.
    """
    names = (*_WHOLE, entry.EMBEDDING) if vectors else _WHOLE
    replies = (yield Send(tuple(("HMGET", key, *names) for key in keys), stage)) if keys else []
    found: list[Entry | EntryError | ReplyError | None] = []
    for reply in replies:
        if isinstance(reply, ReplyError):
            found.append(reply)
            continue
        fields = entry.named(reply, names)
        try:
            found.append(entry.from_fields(fields) if entry.PROMPT in fields else None)
        except EntryError as error:
            found.append(error)
    return found
