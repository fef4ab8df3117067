"""Keyspace: finds keys with SCAN, page by page, so that the server is never blocked for long."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nearhit.flow.steps import Flow, accepted, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit.flow.steps import Command

START = "0"
"""The cursor of the first page; an empty one comes after the last."""

PAGE = 1_000
"""About how many keys the server looks at for one page."""

_GLOB = re.compile(r"([\\*?\[\]])")


def under(prefix: str) -> str:
    """Return the pattern of all keys that begin with ``prefix``."""
    return _GLOB.sub(r"\\\1", prefix) + "*"


def page(pattern: str, cursor: str = START, count: int = PAGE, stage: str = "store") -> Flow[tuple[str, list[bytes]]]:
    """Return the cursor of the next page and the keys of this one; the cursor is empty after the last page.

    Args:
        pattern: which keys.
        cursor: of this page.
        count: about how many keys the server looks at.
        stage: under which name the time is counted.

    Raises:
        StoreUnavailableError: the server does not answer, or refuses.
    """
    return _parsed((yield from ask(_command(pattern, cursor, count), stage)))


def pages(send: Callable[[Command], Any], pattern: str, count: int = PAGE) -> Iterator[list[bytes]]:
    """Yield the keys that match, a page at a time; a key that SCAN repeats within two pages comes once.

    Args:
        send: sends a command and returns its reply.
        pattern: which keys.
        count: about how many keys the server looks at for one page.

    Raises:
        StoreUnavailableError: the server refuses; and whatever ``send`` raises.
    """
    cursor, before = START, set[bytes]()
    while cursor:
        cursor, keys = _parsed(send(_command(pattern, cursor, count)))
        yield [key for key in dict.fromkeys(keys) if key not in before]
        before = set(keys)


def _command(pattern: str, cursor: str, count: int) -> Command:
    return ("SCAN", cursor, "MATCH", pattern, "COUNT", count)


def _parsed(reply: Any) -> tuple[str, list[bytes]]:
    cursor, keys = accepted(reply, "SCAN")
    following = int(cursor)
    return str(following) if following else "", list(keys)
