"""Async cluster: the connections of one event loop to the nodes of a cluster; the twin of ``cluster.ClusterLink``."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from nearhit.errors import BusyError, StoreUnavailableError
from nearhit.valkey.async_endpoint import Endpoint
from nearhit.valkey.async_single import AsyncSingle
from nearhit.valkey.cluster import NodeCommands, collect, moved, put, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis.asyncio

    from nearhit.flow.steps import Command


class AsyncCluster:
    """An asyncio way to a cluster; belongs to one event loop.

    The client of redis-py knows nodes and slots. It learns them in the background, for as long as that takes.

    Args:
        client: connects when it is first used.
        lost: as of ``link.PoolLink``.
        own: the client is closed with this.
    """

    def __init__(self, client: redis.asyncio.RedisCluster, lost: Callable[[str], None], *, own: bool = True) -> None:
        self._client = client
        self._lost = lost
        self._own = own
        self._turn = itertools.count()
        self._known = False
        self._reading: asyncio.Task[None] | None = None
        self._failure = ""
        self._nodes: dict[str, AsyncSingle] = {}

    async def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` says: one round trip to each node that is concerned, all at once."""
        end = asyncio.get_running_loop().time() + timeout_seconds
        if not self._known:
            await self._learn(end)
        client = self._client
        try:
            asked = shares(client, commands, next(self._turn))
            answers = await self._ask(asked, end)
            replies = collect(commands, asked, answers, len(client.get_primaries()))
            for again in moved(client, commands, replies):
                self._refresh()
                put(replies, again, (await self._ask([again], end))[0])
        except (RedisError, OSError) as error:
            self._refresh()
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error
        except StoreUnavailableError as error:
            if not isinstance(error, BusyError):
                self._refresh()
            raise
        return replies

    async def close(self) -> None:
        """Close the connections, and the client where it is not the caller's."""
        self.end()
        if self._own:
            await self._client.aclose()

    def end(self) -> None:
        """Close the connections without waiting for that; called by the loop. Those of the client are left to it."""
        if self._reading is not None:
            self._reading.cancel()
        for node in self._nodes.values():
            node.end()

    def abandon(self) -> None:
        """Close the sockets after the loop has ended; those of the client are left to the collector."""
        for node in self._nodes.values():
            node.abandon()

    async def _ask(self, asked: Sequence[NodeCommands], end: float) -> list[list[Any]]:
        seconds = end - asyncio.get_running_loop().time()
        if seconds <= 0:
            raise StoreUnavailableError("the deadline has passed before all nodes had answered")
        sends = []
        for node, commands in ((share.node, share.commands) for share in asked):
            if node.name not in self._nodes:
                self._nodes[node.name] = AsyncSingle(
                    Endpoint(node.connection_class, node.connection_kwargs), self._lost
                )
            sends.append(self._nodes[node.name].send(commands, seconds))
        return [await sends[0]] if len(sends) == 1 else await asyncio.gather(*sends)

    async def _learn(self, end: float) -> None:
        """Wait until the nodes are known.

        Raises:
            StoreUnavailableError: the cluster does not say, or did not when it was asked before.
            BusyError: it has not said yet.
        """
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._start(), name="nearhit-cluster")
        reading = self._reading
        await asyncio.wait({reading}, timeout=max(0.0, end - loop.time()))
        if self._known:
            return
        if not reading.done() and not self._failure:
            raise BusyError("the nodes of the cluster are not known yet")
        raise StoreUnavailableError(self._failure or "the event loop ended while the cluster was asked")

    async def _start(self) -> None:
        try:
            await self._client.initialize()
        except (RedisError, OSError) as error:
            self._failure = f"{type(error).__name__}: {error}"
            return
        except Exception as error:  # noqa: BLE001 - a caller's own credential provider may raise anything
            self._failure = f"connecting raised {type(error).__name__}"
            return
        self._known, self._failure = True, ""

    def _refresh(self) -> None:
        """Read slots and nodes anew in the background."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_nodes(), name="nearhit-cluster")

    async def _read_nodes(self) -> None:
        try:
            await self._client.nodes_manager.initialize()
        except Exception:  # noqa: BLE001 - the same
            return  # the next failure tries again
        there = {node.name for node in self._client.get_nodes()}
        for gone in self._nodes.keys() - there:
            await self._nodes.pop(gone).close()
