"""Link: sends commands to one server within a deadline, and names what goes wrong there.

Both links talk on redis-py's connections directly: a client's ``execute_command`` has
neither a deadline for one call nor a way to get error replies of a pipeline as values without raising.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as ConnectionLostError

from nearhit.cluster import AsyncCluster, ClusterLink
from nearhit.connector import Connector
from nearhit.errors import StoreUnavailableError
from nearhit.flow import ReplyError
from nearhit.handshake import raise_lost
from nearhit.sockets import Sockets
from nearhit.wire import Packed
from nearhit.wire import pack as pack_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.connection import Server
    from nearhit.flow import Command
    from nearhit.open_connection import OpenConnection
    from nearhit.resolver import Resolver

_INHERITED: list[Any] = []
"""What a forked child got from its parent's event loops, kept for the child's life.

Both share one epoll set: were a connection collected in the child, its end would take the socket out of the parent's
set, and the parent would wait for a reply that it is never told of.
"""


def keep_inherited(what: object) -> None:
    """Keep what a forked child got from its parent's event loop, so that its end is not felt in the parent."""
    _INHERITED.append(what)


class Link(Protocol):
    """A blocking way to a server."""

    def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies as ``ReplyError``.

        Raises:
            StoreUnavailableError: no connection, or no reply within ``timeout_seconds``. Whether the server has done
                the work is then unknown.
        """

    def close(self) -> None:
        """Close the connections that this link opened."""


class AsyncLink(Protocol):
    """An asyncio way to a server; the twin of ``Link``."""

    async def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` does, without blocking the loop."""

    async def close(self) -> None:
        """Close the connections that this link opened for the running loop."""


class PoolLink:
    """A ``Link`` to where a ``redis.Redis`` client goes, over connections of its own: see ``Sockets``.

    A caller's client says where and how to connect, and is not used itself. Thread-safe and fork-safe.

    Args:
        client: of redis-py; its ``max_connections`` hold here, too.
        own: the client is closed with the link.
        resolver: finds addresses.
    """

    def __init__(self, client: redis.Redis, *, own: bool = True, resolver: Resolver | None = None) -> None:
        self._client = client
        self._own = own
        self._connector = Connector(client.connection_pool, resolver)
        self._sockets = self._none_yet()
        self._pid = os.getpid()

    def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` says; a connection that the server has closed meanwhile is replaced once."""
        deadline = time.monotonic() + timeout_seconds
        if timeout_seconds <= 0:
            raise StoreUnavailableError("no time is left")
        if self._pid != os.getpid():  # a forked child must not share its parent's sockets
            self._sockets, self._pid = self._none_yet(), os.getpid()
        sockets, blob = self._sockets, pack_commands(commands)
        try:
            connection = sockets.take(deadline)
            used = connection.used
            try:
                return _talk(sockets, connection, blob, len(commands), deadline)
            except TimeoutError:
                raise
            except (RedisError, OSError):
                if not used or time.monotonic() >= deadline:
                    raise
            sockets.weed()
            return _talk(sockets, sockets.take(deadline), blob, len(commands), deadline)
        except TimeoutError as error:
            raise StoreUnavailableError(f"no reply within {timeout_seconds:.3f} s") from error
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Close the connections, also those in use, and the client where it is not the caller's."""
        if self._pid == os.getpid():
            self._sockets.close()
        if self._own:
            self._client.close()

    def _none_yet(self) -> Sockets:
        return Sockets(self._connector, self._client.connection_pool.max_connections)


def _talk(sockets: Sockets, connection: OpenConnection, blob: bytes, count: int, deadline: float) -> list[Any]:
    try:
        replies = connection.talk(blob, count, deadline)
        raise_lost(replies)
    except TimeoutError as error:
        sockets.drop(connection, error)
        raise
    except BaseException:
        sockets.drop(connection)
        raise
    sockets.keep(connection)
    return replies


class AsyncPoolLink:
    """An ``AsyncLink`` over redis-py's asyncio clients, one client for each event loop."""

    def __init__(
        self, make: Callable[[], redis.asyncio.Redis | redis.asyncio.RedisCluster], *, own: bool = True
    ) -> None:
        self._make = make
        self._own = own
        self._pid = os.getpid()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncSingle | AsyncCluster] = WeakKeyDictionary()

    @classmethod
    def of(cls, client: redis.asyncio.Redis | redis.asyncio.RedisCluster) -> AsyncPoolLink:
        """Return a link over the caller's own client, which stays open and belongs to the caller's loop."""
        return cls(lambda: client, own=False)

    async def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` says, without blocking the loop."""
        client = self._client()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await client.send(commands)
        except TimeoutError as error:
            raise StoreUnavailableError(f"no reply within {timeout_seconds:.3f} s") from error
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close the connections of the running loop and of those that have ended, if they are not the caller's."""
        self._forget_ended()
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None and self._own:
            await client.close()

    def end(self) -> None:
        """Have each loop close its connections; waits for nothing: the cache was dropped."""
        if not self._own or self._pid != os.getpid():
            return
        for loop, client in list(self._clients.items()):
            if isinstance(client, AsyncCluster):  # its nodes are left to the collector
                continue
            try:
                loop.call_soon_threadsafe(client.end)
            except RuntimeError:  # it has ended
                client.abandon()

    def _client(self) -> AsyncSingle | AsyncCluster:
        if self._pid != os.getpid():  # a forked child must not share its parent's sockets
            _INHERITED.extend(self._clients.items())
            self._pid, self._clients = os.getpid(), WeakKeyDictionary()
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            self._forget_ended()
            made = self._make()
            if isinstance(made, redis.asyncio.RedisCluster):
                client = AsyncCluster(made)
            else:
                client = AsyncSingle(made, own=self._own)
            self._clients[loop] = client
        return client

    def _forget_ended(self) -> None:
        """Let go of loops that have ended: a client holds its loop, so that the weak key alone would keep both."""
        for ended in [known for known in self._clients if known.is_closed()]:
            client = self._clients.pop(ended)
            if self._own and isinstance(client, AsyncSingle):  # the nodes of a cluster are left to the collector
                client.abandon()


class AsyncSingle:
    """An asyncio way to one server over one client; keeps connections as ``PoolLink`` does. Belongs to one loop.

    Args:
        client: connects when it is first used.
        own: the client's pool is used by nobody else.
    """

    def __init__(self, client: redis.asyncio.Redis, *, own: bool = True) -> None:
        self._client = client
        self._pool = client.connection_pool
        self._own = own
        self._idle: list[Any] = []

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send as ``PoolLink.send`` does; the caller keeps the deadline and translates what redis-py raises."""
        if self._idle:
            try:
                return await self._talk(self._idle.pop(), commands)
            except ConnectionLostError:  # the server has closed it since it was last used: once more on a new one
                pass
        return await self._talk(await self._pool.get_connection(), commands)

    async def close(self) -> None:
        """Close the connections."""
        while self._idle:
            await self._drop(self._idle.pop())
        await self._client.aclose()

    def end(self) -> None:
        """Close the connections without waiting for that; called by the loop."""
        while self._idle:
            self._idle.pop()._close()  # noqa: SLF001 - redis-py's other ways are coroutines

    def abandon(self) -> None:
        """Close the sockets after the loop has ended, which can close no transport any more."""
        while self._idle:
            writer = self._idle.pop()._writer  # noqa: SLF001 - redis-py closes a connection by its loop alone
            known = writer.get_extra_info("socket") if writer is not None else None
            sock = getattr(known, "_sock", None)  # a loop of another make has none, and the collector closes its own
            if sock is not None:
                sock.close()

    async def _talk(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        try:
            await connection.send_packed_command(pack(connection, commands), check_health=False)
            replies = [await _read_async(connection) for _ in commands]
        except BaseException:
            await self._drop(connection)  # half-read replies must never be met by the next caller
            raise
        if self._own:
            self._idle.append(connection)
        else:
            await self._pool.release(connection)
        return replies

    async def _drop(self, connection: Any) -> None:
        try:
            await connection.disconnect(nowait=True)
        finally:
            await self._pool.release(connection)


def pack(connection: Any, commands: Sequence[Command]) -> bytes | list[bytes]:
    """Return commands as a connection of redis-py sends them."""
    ready = [command.blob for command in commands if isinstance(command, Packed)]
    if len(ready) == len(commands):
        return [b"".join(ready)]
    packed: list[bytes] = connection.pack_commands(commands)
    return packed


def link_for(client: redis.Redis | redis.RedisCluster, *, own: bool = True) -> Link:
    """Return the link that fits a client."""
    if isinstance(client, redis.RedisCluster):
        return ClusterLink(lambda: client, own=own)
    return PoolLink(client, own=own)


def link_to(server: Server) -> Link:
    """Return a link to a server; connects when it is first used, which a cluster's client alone would not."""
    if server.is_cluster:
        return ClusterLink(server.cluster_client)
    return PoolLink(server.single_client())


async def _read_async(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except AuthenticationError:
        raise
    except ResponseError as error:
        return _reply_error(error)


def _reply_error(error: ResponseError) -> ReplyError:
    return ReplyError(str(error), type(error).__name__)


def _unavailable(error: BaseException) -> StoreUnavailableError:
    return StoreUnavailableError(f"{type(error).__name__}: {error}")
