"""Async link: sends commands from any event loop of a process, over connections that belong to that loop alone."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import redis.asyncio
from redis.asyncio.sentinel import SentinelConnectionPool

from nearhit.valkey.async_cluster import AsyncCluster
from nearhit.valkey.async_endpoint import Endpoint
from nearhit.valkey.async_single import AsyncSingle
from nearhit.valkey.handshake import unheard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.steps import Command

_INHERITED: list[Any] = []
"""What a forked child got from its parent's event loops, kept for the child's life.

Both share one epoll set: were a connection collected in the child, its end would take the socket out of the parent's
set, and the parent would wait for a reply that it is never told of.
"""


def keep_inherited(what: object) -> None:
    """Keep what a forked child got from its parent's event loop, so that its end is not felt in the parent."""
    _INHERITED.append(what)


class AsyncPoolLink:
    """An ``AsyncLink`` to where a client of redis-py goes, over connections of its own for each event loop.

    A client says where and how to connect, and does not talk itself; that of a cluster also knows nodes and slots.

    Args:
        make: makes the client.
        own: the client is closed with the link.
        lost: as of ``link.PoolLink``.
    """

    def __init__(
        self,
        make: Callable[[], redis.asyncio.Redis | redis.asyncio.RedisCluster],
        *,
        own: bool = True,
        lost: Callable[[str], None] = unheard,
    ) -> None:
        self._make = make
        self._own = own
        self._lost = lost
        self._pid = os.getpid()
        self._ways: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncSingle | AsyncCluster] = WeakKeyDictionary()

    async def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` says, without blocking the loop."""
        way = self._ways.get(asyncio.get_running_loop()) if self._pid == os.getpid() else None
        return await (way or self._open()).send(commands, timeout_seconds)

    async def close(self) -> None:
        """Close the connections of the running loop and of those that have ended."""
        self._forget_ended()
        way = self._ways.pop(asyncio.get_running_loop(), None)
        if way is not None:
            await way.close()

    def end(self) -> None:
        """Have each loop close its connections; waits for nothing: the cache was dropped."""
        if self._pid != os.getpid():
            return
        for loop, way in self._known():
            try:
                loop.call_soon_threadsafe(way.end)
            except RuntimeError:  # it has ended
                way.abandon()

    def _open(self) -> AsyncSingle | AsyncCluster:
        if self._pid != os.getpid():  # a forked child must not share its parent's sockets
            _INHERITED.extend(self._ways.items())
            self._pid, self._ways = os.getpid(), WeakKeyDictionary()
        self._forget_ended()
        client = self._make()
        if isinstance(client, redis.asyncio.RedisCluster):
            way: AsyncSingle | AsyncCluster = AsyncCluster(client, self._lost, own=self._own)
        else:
            pool = client.connection_pool
            watched = pool if isinstance(pool, SentinelConnectionPool) else None
            way = AsyncSingle(Endpoint(pool.connection_class, pool.connection_kwargs, watched=watched), self._lost)
        self._ways[asyncio.get_running_loop()] = way
        return way

    def _forget_ended(self) -> None:
        """Let go of loops that have ended: a connection holds its loop, so that the weak key alone would keep both."""
        for loop, _ in self._known():
            if loop.is_closed() and (way := self._ways.pop(loop, None)) is not None:  # loops of other threads look, too
                way.abandon()

    def _known(self) -> list[tuple[asyncio.AbstractEventLoop, AsyncSingle | AsyncCluster]]:
        """Return the loops and their connections; threads may change the mapping meanwhile."""
        loops = [loop for reference in self._ways.keyrefs() if (loop := reference()) is not None]
        return [(loop, way) for loop in loops if (way := self._ways.get(loop)) is not None]
