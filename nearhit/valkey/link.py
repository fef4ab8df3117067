"""Link: sends commands to one server within a deadline, and translates its failures.

A client's ``execute_command`` has neither a deadline for one call nor a way to get error replies of a pipeline as
values without raising, so that the links talk themselves.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import ConnectionError as ConnectionLostError
from redis.exceptions import RedisError

from nearhit.errors import BusyError, StoreUnavailableError
from nearhit.valkey.cluster import ClusterLink
from nearhit.valkey.connection_pool import ConnectionPool
from nearhit.valkey.connector import Connector
from nearhit.valkey.handshake import ROLE, ROLE_SECONDS, WHO, raise_lost, role_of, unheard
from nearhit.valkey.packed_command import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.ports import Link
    from nearhit.flow.steps import Command
    from nearhit.valkey.open_connection import OpenConnection
    from nearhit.valkey.resolver import Resolver
    from nearhit.valkey.server import Server

_WHO = pack([WHO])


class PoolLink:
    """A ``Link`` to where a ``redis.Redis`` client goes, over connections of its own: see ``ConnectionPool``.

    A caller's client says where and how to connect, and is not used itself. Thread-safe and fork-safe.

    Args:
        client: of redis-py; its ``max_connections`` hold here, too.
        own: the client is closed with the link.
        resolver: finds addresses.
        lost: is told why a connection was given up that worked, one of ``handshake.RECONNECT_REASONS``.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        own: bool = True,
        resolver: Resolver | None = None,
        lost: Callable[[str], None] = unheard,
    ) -> None:
        self._client = client
        self._own = own
        self._lost = lost
        self._connector = Connector(client.connection_pool, resolver)
        self._sockets = self._none_yet()
        self._pid = os.getpid()

    def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` says; a connection is replaced once that the server has closed or refuses meanwhile."""
        deadline = time.monotonic() + timeout_seconds
        if timeout_seconds <= 0:
            raise StoreUnavailableError("no time is left")
        if self._pid != os.getpid():  # a forked child must not share its parent's sockets
            self._sockets, self._pid = self._none_yet(), os.getpid()
        sockets, blob, waited = self._sockets, pack(commands), 0.0
        try:
            connection = sockets.take(deadline)
            used, waited = connection.used, timeout_seconds - (deadline - time.monotonic())
            try:
                return self._talk(sockets, connection, blob, len(commands), deadline)
            except TimeoutError:
                raise
            except (RedisError, OSError):
                if not used or time.monotonic() >= deadline:
                    raise
            sockets.weed()
            return self._talk(sockets, sockets.take(deadline), blob, len(commands), deadline)
        except TimeoutError as error:
            raise _too_late(timeout_seconds, max(waited, sockets.answered_at - deadline + timeout_seconds)) from error
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close the connections, also those in use, and the client where it is not the caller's."""
        if self._pid == os.getpid():
            self._sockets.close()
        if self._own:
            self._client.close()

    def _none_yet(self) -> ConnectionPool:
        return ConnectionPool(self._connector, self._client.connection_pool.max_connections)

    def _talk(
        self, sockets: ConnectionPool, connection: OpenConnection, blob: bytes, count: int, deadline: float
    ) -> list[Any]:
        asks = bool(connection.role) and time.monotonic() - connection.asked_at > ROLE_SECONDS
        late: TimeoutError | None = None
        sound = False
        try:
            replies = connection.talk(_WHO + blob if asks else blob, count + asks, deadline)
            if asks:
                self._check_role(connection, sockets, role_of(replies.pop(0)))
            raise_lost(replies, lambda reason: self._leave(sockets, reason))
            sound = True
        except TimeoutError as error:
            late = error
            raise
        finally:
            if not sound:
                sockets.drop(connection, late)
        sockets.answered_at = time.monotonic()
        sockets.keep(connection)
        return replies

    def _check_role(self, connection: OpenConnection, sockets: ConnectionPool, role: str) -> None:
        connection.asked_at = time.monotonic()
        if role not in {"", connection.role}:
            self._leave(sockets, ROLE)
            raise ConnectionLostError(f"the server was a {connection.role} and is a {role} now")

    def _leave(self, sockets: ConnectionPool, reason: str) -> None:
        self._lost(reason)
        sockets.leave()


def _too_late(seconds: float, occupied: float) -> StoreUnavailableError:
    """Return the error for a reply that did not come in time.

    Args:
        seconds: the time that there was.
        occupied: after how much of it a connection came free, or the server has still answered other callers.
    """
    if occupied > seconds / 2:
        return BusyError(f"no reply within {seconds:.3f} s, of which other callers took {occupied:.3f} s")
    return StoreUnavailableError(f"no reply within {seconds:.3f} s")


def link_for(
    client: redis.Redis | redis.RedisCluster, *, own: bool = True, lost: Callable[[str], None] = unheard
) -> Link:
    """Return the link that fits a client."""
    if isinstance(client, redis.RedisCluster):
        return ClusterLink(lambda: client, own=own, lost=lost)
    return PoolLink(client, own=own, lost=lost)


def link_to(server: Server, lost: Callable[[str], None] = unheard) -> Link:
    """Return a link to a server; connects when it is first used, which a cluster's client alone would not."""
    if server.is_cluster:
        return ClusterLink(server.cluster_client, lost=lost)
    return PoolLink(server.single_client(), lost=lost)
