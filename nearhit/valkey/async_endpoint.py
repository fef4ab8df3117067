"""Async endpoint: where a server is, and how an event loop connects to it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

import redis.asyncio
import redis.asyncio.sentinel
from redis.exceptions import ConnectionError as ConnectionLostError
from redis.exceptions import RedisError

from nearhit.errors import StoreUnavailableError
from nearhit.resilience.loop_clock import LoopClock
from nearhit.resilience.undo import unless_finished
from nearhit.valkey import sentinels
from nearhit.valkey.async_connection import Connection
from nearhit.valkey.handshake import REPLICA, Handshake, handshake_of, role_of
from nearhit.valkey.packed_command import pack
from nearhit.valkey.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONNECT_SECONDS: Final = 1.0
"""How long connecting may take where the client sets no limit."""

_RESOLVE_SECONDS: Final = 30.0
"""How long to wait for a name server. No lookup waits for it: connecting continues in the background."""


class Endpoint:
    """A server as a client of redis-py describes it; that client is not used itself.

    Args:
        connection_class: of the client's connections.
        options: what these connections are made with.
        resolver: finds addresses.
        watched: the client's pool, where it asks sentinels for the primary.
    """

    def __init__(
        self,
        connection_class: Any,
        options: Mapping[str, Any],
        resolver: Resolver | None = None,
        watched: redis.asyncio.sentinel.SentinelConnectionPool | None = None,
    ) -> None:
        self._watched = watched
        self._class, self._options = connection_class, options
        self._described: Any = connection_class(**options)  # reads all options; never connected
        self._seconds = self._described.socket_connect_timeout or _CONNECT_SECONDS
        self._resolver = resolver or Resolver()
        self._clock = LoopClock(lambda _: None)

    async def connect(self) -> Connection:
        """Return a connection that is ready to talk.

        Each address may take as long as the client's options say, and so may the handshake, which is one round trip.

        Raises:
            StoreUnavailableError: there is none.
        """
        try:
            if _asks(self._described.redis_connect_func):
                connection = await self._connect_by_client()
            else:
                connection = await self._dial()
                await self._greet(connection)
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}".removesuffix(": ")) from error
        connection.greeted = True
        return connection

    async def _dial(self) -> Connection:
        loop, described = asyncio.get_running_loop(), self._described
        path = getattr(described, "path", "")
        if path:
            async with self._clock.timeout(self._seconds):
                return (await loop.create_unix_connection(Connection, path))[1]
        known = getattr(described, "ssl_context", None)
        tls = await asyncio.to_thread(known.get) if known is not None else None  # it reads certificates from disk, once
        failure: OSError | None = None
        host, port = described.host, described.port
        if self._watched is not None:
            host, port = await self._ask_sentinels(self._watched)
        for *_, address in await self._resolver.find_async(host, int(port), _RESOLVE_SECONDS):
            try:
                async with self._clock.timeout(self._seconds):
                    _, connection = await loop.create_connection(
                        Connection, *address[:2], ssl=tls, server_hostname=host if tls is not None else None
                    )
            except OSError as error:
                failure = error
                continue
            self._keep_alive(connection)
            return connection
        raise failure or OSError(f"the name {host!r} has no address")

    async def _ask_sentinels(self, pool: redis.asyncio.sentinel.SentinelConnectionPool) -> tuple[str, int]:
        manager = sentinels.for_one_connect(pool.sentinel_manager)
        try:
            found: tuple[str, int] = await manager.discover_master(pool.service_name)
            pool.sentinel_manager.sentinels = manager.sentinels  # the one that answered comes first
        except redis.asyncio.sentinel.MasterNotFoundError as error:
            raise sentinels.unnamed(pool.service_name, error) from error
        finally:  # the next failover may be days away; another connect may be asking now
            for one in manager.sentinels:
                await one.connection_pool.disconnect(inuse_connections=False)
        return found

    async def _connect_by_client(self) -> Connection:
        """Let redis-py connect, because the caller has set a function for new connections; then take over."""
        made: Any = self._class(**self._options)
        await made.connect()
        writer = made._writer  # noqa: SLF001 - redis-py shows its transport to nobody
        made._reader = made._writer = None  # noqa: SLF001 - it closes what it holds when it is collected
        connection = Connection()
        connection.keeps = writer  # and so does a writer of asyncio
        writer.transport.set_protocol(connection)
        connection.connection_made(writer.transport)
        return connection

    def _keep_alive(self, connection: Connection) -> None:
        sock = connection.socket
        if sock is not None and self._described.socket_keepalive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (self._described.socket_keepalive_options or {}).items():
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    async def _greet(self, connection: Connection) -> None:
        provider = self._described.credential_provider
        with unless_finished(lambda: connection.abort("the handshake failed")):
            credentials = await provider.get_credentials_async() if provider is not None else None
            handshake: Handshake | None = handshake_of(self._described, credentials)
            while handshake is not None and (commands := handshake.commands()):
                replies = await connection.send(pack(commands), len(commands), self._seconds)
                connection.role = role_of(replies[0])
                handshake = handshake.after(replies)
            if self._watched is not None and connection.role == REPLICA:  # they have not agreed on another one yet
                raise ConnectionLostError("what the sentinels call the primary is a replica")


def _asks(function: Any) -> bool:
    """Return whether a caller has set a function for new connections; a cluster's client always has one."""
    owner = getattr(function, "__self__", None)
    return function is not None and not isinstance(owner, redis.asyncio.RedisCluster)
