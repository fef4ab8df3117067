"""One connection for all coroutines of a loop: each gets its own replies, whoever else gives up or asks for much."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from nearhit import BusyError, StoreUnavailableError
from nearhit.valkey.async_connection import MOST_IN_FLIGHT
from nearhit.valkey.async_link import AsyncPoolLink
from nearhit.valkey.server import Server
from tests.contract.wire import Listener
from tests.support.delay import Delay
from tests.support.failures import frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nearhit_worker.stack import ValkeyServer

IN_FLIGHT = 200
CANCELLED = 100_000


def with_link(url: str, scene: Callable[[AsyncPoolLink], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        link = AsyncPoolLink(Server(url=url, **options).async_client)
        try:
            return await scene(link)
        finally:
            await link.close()

    return asyncio.run(run())


@pytest.mark.timeout(300)
def test_nobody_gets_anothers_answer_whoever_is_cancelled(plain_server: ValkeyServer) -> None:
    """What is cancelled is cancelled at every stage: not sent yet, on its way, half read, answered."""
    dice = random.Random(7)
    done = {"cancelled": 0, "answered": 0, "wrong": 0}

    async def ask(link: AsyncPoolLink, number: int) -> None:
        word = b"%d:%d" % (number, dice.getrandbits(40))
        long = word * dice.choice((1, 1, 1, 1, 40, 4_000))
        commands = [("ECHO", word), ("ECHO", long)] if number % 3 else [("ECHO", long)]
        replies = await link.send(commands, 30)
        done["answered"] += 1
        done["wrong"] += replies != [said for _, said in commands]

    async def keep_asking(link: AsyncPoolLink, place: int) -> None:
        while done["cancelled"] < CANCELLED:
            task = asyncio.ensure_future(ask(link, place))
            for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 3, 5))):
                await asyncio.sleep(0)
                if task.done():
                    break
            if dice.random() < 0.9:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            done["cancelled"] += task.cancelled()

    async def scene(link: AsyncPoolLink) -> list[Any]:
        await asyncio.gather(*(keep_asking(link, place) for place in range(IN_FLIGHT)))
        return await link.send([("ECHO", "the end"), ("CLIENT", "ID")], 30)

    end, _ = with_link(plain_server.url, scene)
    assert end == b"the end"
    assert done["wrong"] == 0
    assert done["cancelled"] >= CANCELLED
    assert done["answered"] > CANCELLED / 100


def test_everybody_in_a_loop_talks_over_the_same_connection(plain_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> set[int]:
        await link.send([("PING",)], 1)
        replies = await asyncio.gather(*(link.send([("CLIENT", "ID")], 1) for _ in range(1_000)))
        return {one[0] for one in replies}

    assert len(with_link(plain_server.url, scene)) == 1


def test_more_than_may_be_in_flight_wait_for_their_turn_and_are_answered(plain_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> int:
        await link.send([("PING",)], 1)
        many = range(3 * MOST_IN_FLIGHT)
        replies = await asyncio.gather(*(link.send([("ECHO", number)], 2) for number in many))
        return sum(one == [b"%d" % number] for number, one in zip(many, replies, strict=True))

    assert with_link(plain_server.url, scene) == 3 * MOST_IN_FLIGHT


def test_who_finds_no_room_in_time_is_told_so_and_not_that_the_server_failed(own_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> list[Any]:
        await link.send([("PING",)], 2)
        with frozen(own_server):
            blob = b"x" * 200_000
            sends = (link.send([("ECHO", blob)], 0.05) for _ in range(60))
            said: list[Any] = await asyncio.gather(*sends, return_exceptions=True)
            return said

    said = with_link(own_server.url, scene)
    kinds = {type(one) for one in said}
    assert kinds == {BusyError, StoreUnavailableError}


def test_a_server_that_hangs_costs_its_callers_their_deadline_and_new_callers_get_a_new_connection(
    own_server: ValkeyServer,
) -> None:
    async def scene(link: AsyncPoolLink) -> list[Any]:
        before = (await link.send([("CLIENT", "ID")], 2))[0]
        with frozen(own_server):
            started = time.monotonic()
            lost = await asyncio.gather(*(link.send([("PING",)], 0.3) for _ in range(100)), return_exceptions=True)
            seconds = time.monotonic() - started
            with pytest.raises(StoreUnavailableError):
                await link.send([("PING",)], 0.2)
        after = (await link.send([("CLIENT", "ID")], 2))[0]
        return [before, {type(one) for one in lost}, seconds, after]

    before, kinds, seconds, after = with_link(own_server.url, scene)
    assert kinds == {StoreUnavailableError}
    assert 0.3 <= seconds < 0.3 + 0.5
    assert after > before


def test_what_was_asked_when_the_server_closed_is_asked_again_if_it_changes_nothing(own_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> list[Any]:
        await link.send([("PING",)], 2)
        with own_server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal")
        said: list[Any] = await asyncio.gather(*(link.send([("ECHO", number)], 2) for number in range(200)))
        return said

    with Delay(own_server.port, 0.05) as far:
        replies = with_link(f"valkey://127.0.0.1:{far.port}", scene)
    assert replies == [[b"%d" % number] for number in range(200)]


def test_what_changes_something_is_not_done_twice_when_the_connection_ends(own_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> Any:
        await link.send([("PING",)], 2)
        counted = asyncio.ensure_future(link.send([("INCR", "counter")], 2))
        await asyncio.sleep(0.02)
        far.cut()
        with pytest.raises(StoreUnavailableError, match="closed the connection"):
            await counted
        return (await link.send([("GET", "counter")], 2))[0]

    with Delay(own_server.port, 0.2) as far:
        assert with_link(f"valkey://127.0.0.1:{far.port}", scene) in {b"1", None}


@pytest.mark.parametrize("round_trip", [0.06, 0.1])
def test_a_server_far_away_is_connected_to_in_the_background(plain_server: ValkeyServer, round_trip: float) -> None:
    """The first lookups may come too early; the connection that they asked for is made nevertheless."""

    async def scene(link: AsyncPoolLink) -> list[Any]:
        first = await asyncio.gather(link.send([("PING",)], 0.05), return_exceptions=True)
        await asyncio.sleep(3 * round_trip)
        return [first[0], await link.send([("PING",)], 2 * round_trip)]

    with Delay(plain_server.port, round_trip) as far:
        said = with_link(f"valkey://127.0.0.1:{far.port}/1", scene, password="")
    assert isinstance(said[0], BusyError), repr(said[0])
    assert said[1] == [b"PONG"]


def test_a_connection_is_made_in_two_round_trips(plain_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> float:
        started = time.monotonic()
        await link.send([("PING",)], 2)
        return time.monotonic() - started

    with Delay(plain_server.port, 0.2) as far:
        seconds = with_link(f"valkey://127.0.0.1:{far.port}/3", scene)
    assert seconds < 0.2 * 2 + 0.15, "one for the handshake, one for the command; the proxy connects at once"


def test_replies_that_only_dribble_hold_nobody_beyond_the_deadline(plain_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> list[Any]:
        await link.send([("SET", "large", "x" * 300_000, "PX", 60_000)], 5)
        slow["on"] = True  # and stays so: the large reply goes on to dribble
        started = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="no reply within"):
            await link.send([("GET", "large")], 0.3)
        seconds = time.monotonic() - started
        await asyncio.sleep(0.1)  # until there is another connection
        answers = [await link.send([("ECHO", number)], 1.5) for number in range(3)]
        return [seconds, answers]

    slow = {"on": False}

    def shape(data: bytes) -> list[tuple[bytes, float]]:
        if not slow["on"] or len(data) < 1_000:
            return [(data, 0.0)]
        return [(data[at : at + 1_000], 0.05) for at in range(0, len(data), 1_000)]

    with Delay(plain_server.port, 0.0, shape) as far:
        seconds, answers = with_link(f"valkey://127.0.0.1:{far.port}", scene)
    assert seconds < 0.8
    assert answers == [[b"0"], [b"1"], [b"2"]]


def test_a_large_fill_on_a_slow_line_holds_up_no_lookup(plain_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> list[Any]:
        await link.send([("PING",)], 0.5)
        filling = asyncio.ensure_future(link.send([("ECHO", b"x" * 4_000_000)], 1.9))
        await asyncio.sleep(0.05)
        answers = await asyncio.gather(*(link.send([("ECHO", number)], 0.5) for number in range(50)))
        return [filling.done(), answers, (await filling)[0] == b"x" * 4_000_000]

    with Delay(plain_server.port, 0.02, lambda data: [(data, len(data) / 10e6)]) as far:
        done, answers, whole = with_link(f"valkey://127.0.0.1:{far.port}", scene)
    assert not done
    assert answers == [[b"%d" % number] for number in range(50)]
    assert whole


@pytest.mark.parametrize(
    "nonsense",
    [b"*1000000000\r\n", b"+unasked\r\n" * 50, b"no protocol at all\r\n", b">1\r\n*1000000000\r\n"],
    ids=["a thousand million elements", "unasked", "no protocol", "a push of many"],
)
def test_a_server_that_talks_nonsense_is_left_and_holds_no_loop(nonsense: bytes) -> None:
    def converse() -> Callable[[list[bytes], bytes], bytes]:
        return lambda words, _: nonsense if words[0] == b"PING" else b"+OK\r\n"

    async def scene(link: AsyncPoolLink) -> float:
        started = time.monotonic()
        for _ in range(3):
            with suppress(StoreUnavailableError):
                assert (await link.send([("PING",)], 0.5)) == [b"unasked"]
        return time.monotonic() - started

    with Listener(converse) as server:
        assert with_link(f"valkey://127.0.0.1:{server.port}?protocol=2", scene) < 1.0


def test_a_server_that_wants_another_password_is_unavailable_and_says_why(own_server: ValkeyServer) -> None:
    async def scene(link: AsyncPoolLink) -> Any:
        return await link.send([("PING",)], 2)

    with own_server.client() as client:
        client.config_set("requirepass", "right")
    where = f"127.0.0.1:{own_server.port}"
    for refused in (f"valkey://:wrong@{where}", f"valkey://{where}", f"valkey://{where}?protocol=2"):
        with pytest.raises(StoreUnavailableError, match="AuthenticationError"):
            with_link(refused, scene)
    assert with_link(f"valkey://:right@{where}", scene) == [b"PONG"]
    assert with_link(f"valkey://:right@{where}?protocol=2", scene) == [b"PONG"]


def test_a_callers_own_function_for_new_connections_is_called(plain_server: ValkeyServer) -> None:
    async def introduce(connection: Any) -> None:
        await connection.on_connect()
        await connection.send_command("CLIENT", "SETNAME", "by-the-caller")
        await connection.read_response()

    async def scene() -> Any:
        client = redis.asyncio.Redis(host="127.0.0.1", port=plain_server.port, redis_connect_func=introduce)
        link = AsyncPoolLink(lambda: client, own=False)
        try:
            return await link.send([("CLIENT", "GETNAME")], 2)
        finally:
            await link.close()
            await client.aclose()

    assert asyncio.run(scene()) == [b"by-the-caller"]
