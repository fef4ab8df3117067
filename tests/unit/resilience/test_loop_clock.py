"""A clock that stands still while its event loop is late."""

from __future__ import annotations

import asyncio
import time

import pytest

from nearhit.resilience.loop_clock import LoopClock, LoopClocks


def hold(seconds: float) -> None:
    """Keep the loop from everything else, as an application does that computes."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_time_passes_while_the_loop_waits_and_stands_still_while_it_is_held_up() -> None:
    told: list[float] = []

    async def scene() -> tuple[float, float]:
        with LoopClock(told.append) as clock:
            await asyncio.sleep(0.01)
            started, before = time.monotonic(), clock.now()
            await asyncio.sleep(0.3)
            waited = clock.now() - before
            assert waited <= time.monotonic() - started
            before = clock.now()
            hold(0.3)
            held = clock.now() - before
            await asyncio.sleep(0.02)
        return waited, held

    waited, held = asyncio.run(scene())
    assert held < 0.05
    assert waited > 0.1, "a machine with other work delays timers, too"
    assert sum(told) > 0.25


def test_it_never_goes_back() -> None:
    async def scene() -> list[float]:
        seen = []
        with LoopClock(lambda _: None) as clock:
            for turn in range(200):
                hold(0.003 if turn % 3 else 0.0)
                seen.append(clock.now())
                await asyncio.sleep(0)
                seen.append(clock.now())
        return seen

    seen = asyncio.run(scene())
    assert seen == sorted(seen)


def test_a_timeout_is_not_used_up_by_what_holds_the_loop_up() -> None:
    async def scene() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        async with LoopClock(lambda _: None).timeout(0.1):
            loop.call_later(0.05, answer.set_result, "in time")
            hold(0.5)
            return await answer

    assert asyncio.run(scene()) == "in time"


def test_a_timeout_ends_what_waits_for_too_long() -> None:
    async def scene() -> float:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with LoopClock(lambda _: None).timeout(0.05) as limit:
                await asyncio.sleep(30)
        assert limit.expired()
        return time.monotonic() - started

    assert 0.05 <= asyncio.run(scene()) < 5


def test_a_cancelled_caller_is_not_told_of_a_timeout() -> None:
    async def wait() -> None:
        async with LoopClock(lambda _: None).timeout(30):
            await asyncio.sleep(30)

    async def scene() -> bool:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(scene())


def test_each_loop_has_a_clock_of_its_own_for_as_long_as_it_lives() -> None:
    clocks = LoopClocks(lambda _: None)

    async def scene() -> LoopClock:
        assert clocks.running() is clocks.running()
        return clocks.running()

    assert asyncio.run(scene()) is not asyncio.run(scene())
