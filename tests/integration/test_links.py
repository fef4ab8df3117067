"""How both links keep their connections to a server."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from nearhit import StoreUnavailableError
from nearhit.valkey.async_link import AsyncPoolLink
from nearhit.valkey.link import link_to
from nearhit.valkey.server import Server

if TYPE_CHECKING:
    import redis
    from nearhit_worker.stack import ValkeyServer

ID = (("CLIENT", "ID"),)
KILL = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_connection_is_kept_and_replaced_once_the_server_has_closed_it(plain_server: ValkeyServer, kind: str) -> None:
    with plain_server.client() as client:
        server = Server(url=plain_server.url)
        first, again, after = _blocking(server, client) if kind == "sync" else asyncio.run(_awaited(server, client))
    assert first == again
    assert after != first


def _blocking(server: Server, client: redis.Redis) -> list[int]:
    link = link_to(server)
    found = [link.send(ID, 5)[0], link.send(ID, 5)[0]]
    client.execute_command(*KILL)
    found.append(link.send(ID, 5)[0])
    link.close()
    return found


async def _awaited(server: Server, client: redis.Redis) -> list[int]:
    link = AsyncPoolLink(server.async_client)
    found = [(await link.send(ID, 5))[0], (await link.send(ID, 5))[0]]
    client.execute_command(*KILL)
    found.append((await link.send(ID, 5))[0])
    await link.close()
    return found


def test_connections_of_a_loop_that_has_ended_are_closed_by_the_next_one(plain_server: ValkeyServer) -> None:
    link = AsyncPoolLink(Server(url=plain_server.url).async_client)

    async def ask(close: bool) -> int:
        found = int((await link.send(ID, 5))[0])
        if close:
            await link.close()
        return found

    def open_ids() -> set[int]:
        with plain_server.client() as client:
            return {int(one["id"]) for one in client.client_list()}

    gc.disable()  # it would close them, too, at some time
    try:
        first, second = asyncio.run(ask(close=False)), asyncio.run(ask(close=False))
        wait_until(lambda: first not in open_ids(), 5, "the first loop's connection to be closed")
        assert second in open_ids()
        third = asyncio.run(ask(close=True))
        wait_until(lambda: not {second, third} & open_ids(), 5, "all of them to be closed")
    finally:
        gc.enable()


def test_a_call_in_asyncio_ends_with_its_time_and_leaves_no_half_read_reply(plain_server: ValkeyServer) -> None:
    async def ask() -> int:
        link = AsyncPoolLink(Server(url=plain_server.url).async_client)
        with pytest.raises(StoreUnavailableError, match=r"no reply within 0\.050 s"):
            await link.send((("BLPOP", "nothing:here", 2),), 0.05)
        found = (await link.send((("ECHO", "hello"),), 5))[0]
        await link.close()
        return bool(found == b"hello")

    assert asyncio.run(ask())
