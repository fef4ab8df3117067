"""Sockets: connections of redis-py to one server, made within a time limit and kept between calls."""

from __future__ import annotations

import os
import threading
from typing import Any

from redis.backoff import NoBackoff
from redis.exceptions import MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

_MAX_CONNECTIONS = 64


class Sockets:
    """Connections as a pool of redis-py makes them, most recent first, but none of that pool's own.

    Asking the pool for one and giving it back takes a third of the time of a whole HMGET. Connecting there has limits
    of its own, whatever time the call has left: each step of the handshake may take as long as the client's options
    say, and where a caller's client was made without any, there are ten tries with waits of 4 s in all (redis-py 8.1).

    Thread-safe; a forked child starts with none.

    Args:
        pool: says where the server is and what to say to it; its ``max_connections`` hold here, too.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Any] = []
        self._slots = self._all_slots()
        self._pid = os.getpid()

    def kept(self) -> Any:
        """Return a connection that was open when it was last used, or ``None``."""
        if self._pid != os.getpid():  # a forked child must not share its parent's sockets
            self._idle = []
            self._slots = self._all_slots()
            self._pid = os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def sound(self) -> Any:
        """Return a kept connection that the server has not closed meanwhile, as far as can be seen, or ``None``."""
        while (connection := self.kept()) is not None:
            try:
                if not connection.can_read(timeout=0):
                    return connection
            except (RedisError, OSError):
                pass  # closed: it goes the way of one that has something unasked to say
            self.drop(connection)
        return None

    def connect(self, seconds: float) -> Any:
        """Return a connection that is ready to talk.

        Raises:
            redis.RedisError: there is none within ``seconds``, or there are too many.
            OSError: the same.
        """
        if seconds <= 0:
            raise RedisTimeoutError("no time is left to connect")
        if not self._slots.acquire(blocking=False):
            raise MaxConnectionsError("all connections are in use")
        connection: Any = None
        try:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            for limit in ("socket_connect_timeout", "socket_timeout"):
                setattr(connection, limit, min(seconds, getattr(connection, limit) or seconds))
            connection.retry = Retry(NoBackoff(), 0)
            connection.connect()
        except BaseException:
            self.drop(connection)
            raise
        return connection

    def keep(self, connection: Any) -> None:
        """Take a connection back whose replies were all read."""
        self._idle.append(connection)

    def drop(self, connection: Any) -> None:
        """Close a connection: half-read replies must never be met by the next caller."""
        if connection is not None:
            connection.disconnect()
        self._slots.release()

    def close(self) -> None:
        """Close what is kept."""
        while (connection := self.kept()) is not None:
            self.drop(connection)

    def _all_slots(self) -> threading.Semaphore:
        return threading.Semaphore(getattr(self._pool, "max_connections", _MAX_CONNECTIONS))


def limit(connection: Any, seconds: float) -> None:
    """Bound the sending, too: a hung server takes only as much of a large answer as its buffers hold."""
    sock = connection._sock  # noqa: SLF001 - redis-py bounds a connection for its whole life, not a call
    if sock is not None:
        sock.settimeout(max(0.001, seconds))
