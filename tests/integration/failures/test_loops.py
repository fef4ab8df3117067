"""Reads never hurt: an event loop is not held, and a cancelled lookup leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

import pytest

from nearhit import AsyncSemanticCache, FillOutcome, Hit, Miss, MissReason
from tests.support.failures import frozen, reason
from tests.support.outcomes import NOTHING
from tests.support.store import Store

if TYPE_CHECKING:
    from nearhit_worker.stack import ValkeyServer


def test_a_loop_is_not_held_while_the_server_hangs(own_settings: Any, own_server: ValkeyServer) -> None:
    async def lag() -> float:
        worst = 0.0
        while True:
            started = time.monotonic()
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                return worst
            worst = max(worst, time.monotonic() - started - 0.005)

    async def scene() -> tuple[float, list[Hit | Miss], list[FillOutcome]]:
        cache = AsyncSemanticCache(own_settings())
        assert await cache.warm_up()
        await cache.lookup("What is it?")
        with frozen(own_server):
            ticker = asyncio.create_task(lag())
            await asyncio.sleep(0.01)
            lookups = await asyncio.gather(*(cache.lookup(f"What is {number}?") for number in range(50)))
            fills = await asyncio.gather(*(cache.fill(f"What is {number}?", "x") for number in range(50)))
            ticker.cancel()
            worst = await ticker
        await cache.close()
        return worst, lookups, fills

    held = []
    for _ in range(3):  # a loop that is held is held every time, one that a busy machine stops is not
        worst, lookups, fills = asyncio.run(scene())
        assert {reason(one) for one in lookups} <= {MissReason.UNAVAILABLE, MissReason.WARMING}
        assert set(fills) == {FillOutcome.SPOOLED}
        held.append(worst)
    assert min(held) < 0.2


def test_a_cancelled_lookup_leaves_no_reply_behind_for_the_next_one(own_settings: Any) -> None:
    async def scene() -> list[Any]:
        cache = AsyncSemanticCache(own_settings(deadline_ms=2_000))
        assert await cache.warm_up()
        store = Store(own_settings())
        for number in range(20):
            store.add(f"What is {number}?", number)
        store.close()
        for number in range(20):
            task = asyncio.create_task(cache.lookup("What is 0?"))
            await asyncio.sleep(0 if number % 2 else 0.0005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        found = [(await cache.lookup(f"What is {number}?")).answer for number in range(20)]  # type: ignore[union-attr]
        await cache.close()
        return found

    assert asyncio.run(scene()) == list(range(20))


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what a loop that was not closed leaves to the collector
def test_one_asyncio_cache_serves_one_loop_after_another(own_settings: Any) -> None:
    cache = AsyncSemanticCache(own_settings(deadline_ms=2_000))

    async def scene(number: int) -> MissReason:
        assert await cache.warm_up()
        found = reason(await cache.lookup("What is it?"))
        if number == 2:
            await cache.close()
        return found

    assert {asyncio.run(scene(number)) for number in range(3)} <= NOTHING
    gc.collect()
