"""Links: the connections of one cache, with the same names for blocking callers and for asyncio."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nearhit.valkey.async_link import AsyncPoolLink
from nearhit.valkey.link import link_for, link_to

if TYPE_CHECKING:
    import redis
    import redis.asyncio

    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.server import Server


class Links:
    """The connections of a ``SemanticCache``; each link connects when it is first used.

    Args:
        server: the cache server.
        log_server: the server of the fill log.
        fill_seconds: how long ``fill`` may hold its caller.
        metrics: where lost connections are counted.
        client: the caller's own client for the cache server, which stays open.

    Attributes:
        cache: to the cache server.
        log: to the log's server, for callers.
        fill: to the log's server, for fills.
        background: to the log's server, for threads in the background.
    """

    def __init__(
        self,
        server: Server,
        log_server: Server,
        fill_seconds: float,
        metrics: Metrics,
        client: redis.Redis | redis.RedisCluster | None = None,
    ) -> None:
        lost, log_lost = metrics.reconnecting("cache"), metrics.reconnecting("log")
        self.cache = link_to(server, lost) if client is None else link_for(client, own=False, lost=lost)
        self.log = self.background = link_to(log_server, log_lost)
        self.fill = link_to(replace(log_server, timeout_seconds=fill_seconds), log_lost)

    def end(self) -> None:
        """Leave the connections to the collector, which closes them with the last link."""

    def close(self) -> None:
        """Close every connection."""
        self.cache.close()
        self.log.close()
        self.fill.close()


class AsyncLinks:
    """The connections of an ``AsyncSemanticCache``; the twin of ``Links``."""

    def __init__(
        self,
        server: Server,
        log_server: Server,
        fill_seconds: float,
        metrics: Metrics,
        client: redis.asyncio.Redis | redis.asyncio.RedisCluster | None = None,
    ) -> None:
        del fill_seconds  # each call has its own time limit
        lost, log_lost = metrics.reconnecting("cache"), metrics.reconnecting("log")
        own = client is None
        self.cache = AsyncPoolLink(server.async_client if client is None else lambda: client, own=own, lost=lost)
        self.log = self.fill = AsyncPoolLink(log_server.async_client, lost=log_lost)
        self.background = link_to(log_server, log_lost)

    def end(self) -> None:
        """Have each loop close its connections; waits for nothing."""
        self.cache.end()
        self.log.end()

    async def close(self) -> None:
        """Close the connections of the running loop, and those of threads."""
        await self.cache.close()
        await self.log.close()
        self.background.close()
