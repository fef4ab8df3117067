"""Delay: a server in front of the real one, as far away as a test wants it to be."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Delay:
    """Carries bytes to a server and back, each half a round trip later; nothing is lost or joined.

    Args:
        port: of the real server.
        round_trip_seconds: may be changed at any time.
        shape: cuts what the server says into pieces, each with the seconds to wait before it goes on.
    """

    def __init__(
        self,
        port: int,
        round_trip_seconds: float,
        shape: Callable[[bytes], list[tuple[bytes, float]]] = lambda data: [(data, 0.0)],
    ) -> None:
        self.round_trip_seconds = round_trip_seconds
        self._target, self._shape = port, shape
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def close(self) -> None:
        self._end.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for one in self._open:
            one.close()

    def turn_to(self, port: int) -> None:
        """Take new connections to another server; those that are open stay where they are."""
        self._target = port

    def cut(self) -> None:
        """Close all connections."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._open += [near, far]
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target in ((near, far), (far, near)):
                on_the_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                self._start(self._take, source, on_the_way)
                self._start(self._give, target, on_the_way, source is far)

    def _take(self, source: socket.socket, on_the_way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"anything"
        while data:
            try:
                data = source.recv(65536)
            except OSError:
                data = b""
            on_the_way.put((time.monotonic() + self.round_trip_seconds / 2, data))

    def _give(self, target: socket.socket, on_the_way: queue.SimpleQueue[tuple[float, bytes]], shaped: bool) -> None:
        data = b"anything"
        while data and not self._end.is_set():
            due, data = on_the_way.get()
            self._end.wait(max(0.0, due - time.monotonic()))
            for piece, seconds in self._shape(data) if shaped else [(data, 0.0)]:
                self._end.wait(seconds)
                try:
                    target.sendall(piece)
                except OSError:
                    return
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
