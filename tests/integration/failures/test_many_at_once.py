"""Many coroutines at once, and a loop with other work: what is in the cache is found, however late the loop is."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nearhit import AsyncSemanticCache, FillOutcome, Hit
from tests.support.delay import Delay
from tests.support.failures import frozen
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit import Miss

QUESTIONS = 64


def stock(settings: Any) -> None:
    store = Store(settings)
    store.put(*(store.entry(f"What is the number {number}?", number) for number in range(QUESTIONS)))
    store.close()


def in_cache(settings: Any, scene: Callable[[AsyncSemanticCache], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with AsyncSemanticCache(settings) as cache:
            assert await cache.warm_up()
            return await scene(cache)

    return asyncio.run(run())


def texts(tier: str, most: int) -> list[str]:
    pattern = "What is the number {}?" if tier == "exact" else "what is the number {}"
    return [pattern.format(number % QUESTIONS) for number in range(most)]


def outcome(one: Hit | Miss) -> str:
    return one.tier.value if isinstance(one, Hit) else f"{one.reason.value} {one.detail}".strip()


def seen(cache: AsyncSemanticCache, name: str, **labels: str) -> float:
    return cache.metrics.registry.get_sample_value(name, {"namespace": cache.metrics.namespace, **labels}) or 0.0


@pytest.mark.parametrize("tier", ["exact", "semantic"])
@pytest.mark.parametrize("at_once", [1, 16, 64, 256, 1024])
@pytest.mark.parametrize("own_server", ["local", "valkey-search"], indirect=True)
def test_whatever_is_in_the_cache_is_found_by_as_many_as_ask(
    own_settings: Any, tier: str, at_once: int, own_server: ValkeyServer
) -> None:
    """With the deadline as it ships; a burst of 1,024 takes the loop longer than that.

    The search module takes longer, too, where the machine has more to do than this test.
    """
    settings = own_settings(deadline_ms=5_000 if own_server.module else 250)
    stock(settings)

    async def scene(cache: AsyncSemanticCache) -> Counter[str]:
        found = [await asyncio.gather(*map(cache.lookup, texts(tier, at_once))) for _ in range(3)]
        for outcomes in found:
            for number, one in enumerate(outcomes):
                assert not isinstance(one, Hit) or one.answer == number % QUESTIONS
        return Counter(outcome(one) for outcomes in found for one in outcomes)

    assert in_cache(settings, scene).keys() <= {"exact", "semantic"}


def test_more_than_the_line_carries_in_time_are_busy_and_never_unavailable(settings: Any, server: ValkeyServer) -> None:
    """The server answers all the while: a deadline that goes by in the queue before it says nothing against it."""

    async def scene(cache: AsyncSemanticCache) -> Counter[str]:
        for text in texts("exact", 2):
            assert await cache.lookup(text)
        found = [await asyncio.gather(*map(cache.lookup, texts("semantic", 1_024))) for _ in range(2)]
        assert seen(cache, "nearhit_breaker_open", part="store") == 0
        async with asyncio.timeout(10):  # what is on its way has to arrive first
            while not await cache.lookup(texts("exact", 1)[0]):
                pass
        return Counter(outcome(one).split()[0] for outcomes in found for one in outcomes)

    def narrow(data: bytes) -> list[tuple[bytes, float]]:
        return [(data[at : at + 2_000], 0.005) for at in range(0, len(data), 2_000)]

    with Delay(server.port, 0.0, narrow) as slow:
        here = settings(url=server.url, deadline_ms=1_000)
        stock(here)
        found = in_cache(replace(here, url=f"valkey://127.0.0.1:{slow.port}"), scene)
    assert found.keys() == {"semantic", "busy"}


@pytest.mark.parametrize("sleeps", [True, False], ids=["held up", "computing"])
def test_a_loop_that_is_busy_most_of_the_time_loses_no_hit(own_settings: Any, sleeps: bool) -> None:
    stock(own_settings())

    async def work() -> None:
        while True:
            until = time.monotonic() + 0.01
            while time.monotonic() < until:
                if sleeps:
                    time.sleep(0.01)  # noqa: ASYNC251 - what holds a loop up is what this test is about
            await asyncio.sleep(0.002)

    async def scene(cache: AsyncSemanticCache) -> Counter[str]:
        working = asyncio.create_task(work())
        found = await asyncio.gather(*map(cache.lookup, texts("semantic", 500)))
        working.cancel()
        assert seen(cache, "nearhit_breaker_open", part="store") == 0
        assert seen(cache, "nearhit_loop_lag_seconds_count") > 0
        return Counter(map(outcome, found))

    assert in_cache(own_settings(), scene) == {"semantic": 500}


def test_a_loop_that_stands_still_for_longer_than_the_deadline_still_finds_the_answer(own_settings: Any) -> None:
    stock(own_settings())

    async def scene(cache: AsyncSemanticCache) -> list[str]:
        asking = [asyncio.create_task(cache.lookup(text)) for text in texts("semantic", 8)]
        await asyncio.sleep(0)
        time.sleep(0.6)  # noqa: ASYNC251 - the same
        return [outcome(one) for one in await asyncio.gather(*asking)]

    assert in_cache(own_settings(), scene) == ["semantic"] * 8


def test_a_busy_loop_does_not_wait_for_a_hung_server_beyond_measure(
    own_settings: Any, own_server: ValkeyServer
) -> None:
    async def work() -> None:
        while True:
            until = time.monotonic() + 0.01
            while time.monotonic() < until:
                pass
            await asyncio.sleep(0.002)

    async def scene(cache: AsyncSemanticCache) -> tuple[set[str], float]:
        working = asyncio.create_task(work())
        with frozen(own_server):
            started = time.monotonic()
            found = await asyncio.gather(*map(cache.lookup, texts("exact", 100)))
            seconds = time.monotonic() - started
        working.cancel()
        return set(map(outcome, found)), seconds

    found, seconds = in_cache(own_settings(), scene)
    assert {one.split()[0] for one in found} == {"unavailable"}
    assert seconds < 1.0


def test_fills_of_many_coroutines_are_accepted_and_none_is_spooled(own_settings: Any) -> None:
    async def scene(cache: AsyncSemanticCache) -> Counter[str]:
        async def keep_filling(place: int) -> list[FillOutcome]:
            return [await cache.fill(f"Question {place} {number}?", "x") for number in range(20)]

        found = await asyncio.gather(*map(keep_filling, range(256)))
        return Counter(one.value for outcomes in found for one in outcomes)

    assert in_cache(own_settings(), scene) == {"accepted": 256 * 20}


@pytest.mark.parametrize("round_trip", [0.02, 0.06, 0.1])
def test_a_server_far_away_gives_every_hit(own_settings: Any, own_server: ValkeyServer, round_trip: float) -> None:
    stock(own_settings())

    async def scene(cache: AsyncSemanticCache) -> Counter[str]:
        found = [outcome(await cache.lookup(text)) for text in texts("semantic", 10)]
        far.cut()
        await asyncio.sleep(0.05)
        later = [outcome(await cache.lookup(text)) for text in texts("exact", 10)]
        return Counter([*found, *later[2:]])  # a handshake and a lookup may together take longer than a deadline

    with Delay(own_server.port, round_trip) as far:
        settings = own_settings(url=f"valkey://127.0.0.1:{far.port}")
        assert in_cache(settings, scene).keys() <= {"exact", "semantic"}
