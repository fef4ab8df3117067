"""Many event loops in many threads over one link: each finds its own connections, whoever clears up."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

import redis.asyncio

from nearhit.valkey.async_link import AsyncPoolLink

if TYPE_CHECKING:
    from nearhit_worker.stack import ValkeyServer

THREADS = 8
LOOPS = 60


def test_threads_that_begin_and_end_loops_do_not_disturb_each_other(own_server: ValkeyServer) -> None:
    link = AsyncPoolLink(lambda: redis.asyncio.Redis.from_url(own_server.url.replace("valkey://", "redis://")))
    failures: list[BaseException] = []

    async def ping() -> None:
        assert await link.send((("PING",),), 5.0) == [b"PONG"]

    def begin_and_end() -> None:
        try:
            for _ in range(LOOPS):
                asyncio.run(ping())
        except BaseException as error:
            failures.append(error)
            raise

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=begin_and_end) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    link.end()
    assert failures == []
