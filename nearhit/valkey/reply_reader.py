"""Reply reader: parses what a server sends, and refuses replies that announce too many elements."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import InvalidResponse

from nearhit.flow.steps import ReplyError

MAX_ELEMENTS: Final = 999_999
"""Elements that one array, map or set of a reply may announce.

hiredis makes a list of the announced length before the first element arrives: ``*1000000000`` took 41 s and 8 GB.
"""

MAX_BYTES: Final = 1 << 30
"""Bytes of replies that may wait to become complete; a server sends no string of more than 512 MiB."""

NO_REPLY: Final = object()
"""What ``ReplyReader.gets`` returns while no reply is complete."""

_LONGEST_HEADER = 24
_TOO_MANY = re.compile(rb"[*%~>|]0*[1-9]\d{6,}\r")
_TOO_MANY_INSIDE = re.compile(rb"\n[*%~>|]0*[1-9]\d{6,}\r")
_UNFINISHED = re.compile(rb"(?:^|(?<=\n))[*%~>|]\d*$")


class ReplyReader:
    r"""Turns the bytes of one connection into replies: bytes, numbers, lists, dicts, None; errors as ``ReplyError``.

    Belongs to one connection; not thread-safe.

    >>> reader = ReplyReader()
    >>> reader.feed(b"*2\r\n:1\r\n$2\r\nO")
    >>> reader.gets() is NO_REPLY
    True
    >>> reader.feed(b"K\r\n-NOPERM no rights\r\n")
    >>> reader.gets()
    [1, b'OK']
    >>> reader.gets()
    ReplyError(text='no rights', kind='NoPermissionError')

    Args:
        max_bytes: how much of replies that are not complete may be kept.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=_reply_error,  # type: ignore[arg-type]  # it may return any value, whatever the stub says
            notEnoughData=NO_REPLY,
        )
        self._ready: deque[Any] = deque()
        self._header = b""

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrived.

        Raises:
            redis.exceptions.InvalidResponse: a reply announces more than ``MAX_ELEMENTS``, or has more than
                ``max_bytes``. The connection can no longer be used.
        """
        if self._header:
            data = self._header + data
            self._header = b""
        if data[-1:] != b"\n":  # the header of a list whose length has not arrived whole waits until it has
            end = data[-_LONGEST_HEADER:]
            unfinished = _UNFINISHED.search(end, 0 if len(data) <= _LONGEST_HEADER else 1)
            if unfinished:
                self._header = unfinished[0]
                data = data[: -len(self._header)]
        if (first := _TOO_MANY.match(data)) is not None:
            self._refuse_a_list(first[0])
        taken = 0
        if _TOO_MANY_INSIDE.search(data) is not None:  # asked first: it takes half the time of an empty iteration
            for suspect in _TOO_MANY_INSIDE.finditer(data):
                self._parser.feed(data[taken : suspect.start() + 1])
                taken = suspect.start() + 1
                self._refuse_a_list(suspect[0][1:])
        self._parser.feed(data[taken:] if taken else data)
        if self._parser.len() > self._max_bytes:
            raise InvalidResponse(f"more than {self._max_bytes} bytes of a reply arrived, and it is not complete")

    def gets(self) -> Any:
        """Return the next reply, or ``NO_REPLY`` while none is complete.

        Raises:
            redis.exceptions.InvalidResponse: the bytes are no replies.
        """
        return self._ready.popleft() if self._ready else self._parser.gets()

    def _refuse_a_list(self, header: bytes) -> None:
        """Refuse what looks like the header of a long list, unless it is text inside a string of the reply."""
        while (reply := self._parser.gets()) is not NO_REPLY:
            self._ready.append(reply)
        if not self._parser.has_data():
            raise InvalidResponse(f"a reply announces {header[1:-1].decode()} elements, above {MAX_ELEMENTS}")


def _reply_error(text: str) -> ReplyError:
    """Return an error reply under the name that redis-py gives it."""
    error = BaseParser.parse_error(text)
    return ReplyError(str(error), type(error).__name__)
