"""Open connection: one connected socket, used by one caller at a time."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
import weakref
from typing import Any, Final

import hiredis
from redis.exceptions import ConnectionError as ConnectionLostError
from redis.exceptions import InvalidResponse

from nearhit.valkey.reply_reader import NO_REPLY, ReplyReader

_FIRST_READ: Final = 16_384
_NEXT_READ: Final = 262_144
_TLS_RECORD: Final = 16_384
_SLACK_SECONDS: Final = 0.001
"""How far past the deadline a read may go; setting a time limit costs as much as a system call."""

_PUSH: Final = hiredis.PushNotification


class OpenConnection:
    """Sends commands and reads their replies; each step ends at the caller's deadline, whatever the server does.

    A connection of which a step has failed must be closed: half-read replies must never be met by the next caller. One
    that nobody holds any more closes itself.

    Args:
        sock: connected, TLS done; belongs to this object from now on.

    Attributes:
        used: it has answered a caller before.
        round_trip_seconds: how long the server took for the answer to the handshake.
        role: of the server, as it said in the handshake; empty where it did not.
        asked_at: when it said so last, by ``time.monotonic``.
        address: host and port, where sentinels have named them.
    """

    __slots__ = (
        *("__weakref__", "_end", "_reader", "_sock", "_tls"),
        *("address", "asked_at", "role", "round_trip_seconds", "used"),
    )

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._reader = ReplyReader()
        self._end = weakref.finalize(self, _close, sock, os.getpid())  # a __del__ would come after the socket's own
        self._end.atexit = False
        self.used = False
        self.round_trip_seconds = 0.0
        self.role = ""
        self.asked_at = time.monotonic()
        self.address: tuple[str, int] | None = None

    @property
    def closed(self) -> bool:
        """Whether it was closed on this side."""
        return self._sock.fileno() < 0

    def talk(self, blob: bytes, count: int, deadline: float) -> list[Any]:
        """Send commands and return their replies, error replies as ``ReplyError``.

        Args:
            blob: the commands, packed.
            count: how many there are.
            deadline: of ``time.monotonic``.

        Raises:
            TimeoutError: the deadline has passed.
            OSError: the network has failed.
            redis.exceptions.RedisError: the server has closed the connection, or what it says is no reply.
        """
        left = self._send(blob, deadline)
        return self._read(count, deadline, left)

    def send(self, blob: bytes, deadline: float) -> None:
        """Send commands; a hung server takes only as much of a large one as its buffers hold. Raises as ``talk``."""
        self._send(blob, deadline)

    def read(self, count: int, deadline: float) -> list[Any]:
        """Return the next ``count`` replies; raises as ``talk``."""
        return self._read(count, deadline, float("inf"))

    def _send(self, blob: bytes, deadline: float) -> float:
        """Send, and return the time limit that the socket has then."""
        sock = self._sock
        sock.settimeout(left := _left(deadline))
        if not self._tls or len(blob) <= _TLS_RECORD:
            sock.sendall(blob)
            return left
        rest = memoryview(blob)  # sendall counts its time anew for each record
        while rest:
            rest = rest[sock.send(rest) :]
            sock.settimeout(left := _left(deadline))
        return left

    def _read(self, count: int, deadline: float, limit: float) -> list[Any]:
        sock, reader, size = self._sock, self._reader, _FIRST_READ
        replies: list[Any] = []
        while len(replies) < count:
            left = deadline - time.monotonic()
            if left <= 0:  # what came while this thread had to wait for other threads came in time
                if limit <= 0:
                    raise TimeoutError("no time is left")
                sock.settimeout(_SLACK_SECONDS)
                limit = 0.0
            elif limit - left > _SLACK_SECONDS:
                sock.settimeout(left)
                limit = left
            data = sock.recv(size)
            if not data:
                raise ConnectionLostError("the server has closed the connection")
            if len(data) == size:
                size = _NEXT_READ
            reader.feed(data)
            while (reply := reader.gets()) is not NO_REPLY:
                if type(reply) is not _PUSH:  # nobody has asked for one
                    replies.append(reply)
        if len(replies) > count:
            raise InvalidResponse(f"the server gave {len(replies)} replies to {count} commands")
        self.used = True
        return replies

    def is_quiet(self) -> bool:
        """Return whether the server has neither closed this connection nor sent anything that nobody asked for."""
        if self._tls and self._sock.pending():  # type: ignore[attr-defined]
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def abort(self) -> None:
        """End what another thread is waiting for here: it finds the connection closed by the server."""
        _shut_down(self._sock)

    def close(self) -> None:
        """Close the socket; the server hears of it, too, unless this is a forked child of the socket's process."""
        self._end()


def _close(sock: socket.socket, pid: int) -> None:
    if os.getpid() == pid:
        _shut_down(sock)
    sock.close()


def _shut_down(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        return


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("no time is left")
    return left
