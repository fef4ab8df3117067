"""Replies: shapes in which RESP2 and RESP3 differ, and numbers that another program may have written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DIGITS = 16
"""Digits of the largest number that is read: those of ``entry.MAX_WHOLE``."""


def mapping(reply: Any) -> Mapping[Any, Any]:
    """Return names and values, which RESP2 sends as a flat list and RESP3 as a map.

    Example:
        >>> mapping([b"a", 1, b"b", 2])
        {b'a': 1, b'b': 2}
    """
    return reply if isinstance(reply, Mapping) else dict(zip(reply[::2], reply[1::2], strict=True))


def first_stream(reply: Any) -> list[Any]:
    """Return the entries of the first stream of an XREAD reply: a list of pairs, or a map; empty for nil."""
    if not reply:
        return []
    return list(next(iter(reply.values())) if isinstance(reply, Mapping) else reply[0][1])


def whole(value: Any, otherwise: int = 0) -> int:
    """Return a whole number that stands in bytes; ``otherwise`` for everything else.

    Example:
        >>> whole(b"12"), whole(b"-1"), whole(None)
        (12, 0, 0)
    """
    return int(value) if isinstance(value, bytes) and value.isdigit() and len(value) <= _DIGITS else otherwise
