"""Wire: RESP as bytes on a socket, and a server of ours that a recording proxy and a player are made of."""

from __future__ import annotations

import re
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

import hiredis

if TYPE_CHECKING:
    from collections.abc import Callable

Words = list[bytes]

_TOKEN = re.compile(rb"[0-9a-f]{16}")
"""The token of a write lease, which is drawn anew every time."""


def comparable(words: Words) -> Words:
    """Return what of a request must be as recorded: all but a client's version and the token of a lease."""
    if words[0].upper() == b"CLIENT":
        return words[:3]
    if words[0] in {b"EVAL", b"SET"}:
        return [b"token" if _TOKEN.fullmatch(word) else word for word in words]
    return words


class Requests:
    """Cuts a stream of bytes into requests, each as its words and its bytes."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[Words, bytes]]:
        self._buffer += data
        found = []
        while (one := _request(self._buffer)) is not None:
            words, size = one
            found.append((words, self._buffer[:size]))
            self._buffer = self._buffer[size:]
        return found


def _request(data: bytes) -> tuple[Words, int] | None:
    end = data.find(b"\r\n")
    if end < 0:
        return None
    count, at = int(data[1:end]), end + 2
    words: Words = []
    for _ in range(count):
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(data[at + 1 : end])
        at = end + 2 + size + 2
        if len(data) < at:
            return None
        words.append(data[end + 2 : end + 2 + size])
    return words, at


class Upstream:
    """A raw connection to the real server that gives each reply as the bytes it came in."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 30)

    def ask(self, request: bytes) -> bytes:
        self._socket.sendall(request)
        reader, reply = hiredis.Reader(), b""
        while True:
            data = self._socket.recv(65536)
            assert data, "the server closed the connection"
            reader.feed(data)
            reply += data
            if reader.gets() is not False:
                return reply

    def close(self) -> None:
        self._socket.close()


class Listener:
    """A server on a free port of 127.0.0.1; ``converse`` answers one connection's requests."""

    def __init__(self, converse: Callable[[], Callable[[Words, bytes], bytes]], piece: int = 1 << 20) -> None:
        self._converse = converse
        self._piece = piece
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        answer, requests = self._converse(), Requests()
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                    if not data:
                        return
                    for words, raw in requests.feed(data):
                        reply = answer(words, raw)
                        for at in range(0, len(reply), self._piece):
                            connection.sendall(reply[at : at + self._piece])
                except OSError:  # the client, or this listener, has closed it
                    return

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
