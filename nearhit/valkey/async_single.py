"""Async single: the connections of one event loop to one server, made in the background and replaced when they end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from nearhit.errors import BusyError, StoreUnavailableError
from nearhit.resilience.loop_clock import LoopClock
from nearhit.valkey.exchange import ConnectionLost, NoReply
from nearhit.valkey.packed_command import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.steps import Command
    from nearhit.valkey.async_connection import Connection
    from nearhit.valkey.async_endpoint import Endpoint

_PATIENT_SECONDS: Final = 2.0
"""An exchange that may take longer than this goes where no lookup waits behind it."""

_LARGE_BYTES: Final = 256 * 1024
"""The same for one that is longer than this."""

_STALLED_SECONDS: Final = 0.05
"""Lookups use the other connection, too, while no reply is complete on the first one for this long."""

_TRIES: Final = 3
"""How many connections a caller waits for, where each ends before it can be used."""

_READS: Final = frozenset(
    (
        *("CLIENT", "COMMAND", "ECHO", "EXISTS", "FT._LIST", "FT.INFO", "FT.SEARCH", "GET", "HGET", "HGETALL"),
        *("HMGET", "INFO", "MGET", "PING", "PTTL", "SCAN", "XLEN", "XPENDING", "XRANGE", "ZCARD"),
    )
)
"""Commands that may be sent again when the connection ended before their reply: they change nothing."""


class Lane:
    """One connection that all callers share, and its successors.

    It is made by a task of the event loop, which continues when the lookup that asked for it has run out of time.

    Args:
        endpoint: makes connections.
        lost: as of ``link.PoolLink``.
    """

    def __init__(self, endpoint: Endpoint, lost: Callable[[str], None]) -> None:
        self._endpoint = endpoint
        self._lost = lost
        self._making: asyncio.Task[None] | None = None
        self._all: WeakSet[Connection] = WeakSet()
        self._failure = ""
        self.connection: Connection | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin to connect, where that has not begun yet."""
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="nearhit-connect")
        return self._making

    async def ready(self, clock: LoopClock, end: float) -> Connection:
        """Return the connection, when it is there.

        Args:
            clock: of the loop, in use.
            end: until when to wait, by that clock.

        Raises:
            StoreUnavailableError: the server cannot be reached, or it was not reached until ``end`` after an earlier
                connection had failed.
            BusyError: the first connection is still being made.
        """
        for _ in range(_TRIES):
            if self.connection is not None:
                return self.connection
            making = self.start()
            if not await clock.wait(making, end):
                if self._failure:
                    raise StoreUnavailableError(f"no connection in time; before: {self._failure}")
                raise BusyError("the connection is still being made")
            if making.cancelled():
                raise StoreUnavailableError("the event loop ended while the connection was being made")
            making.result()
            if self.connection is None and self._failure:
                raise StoreUnavailableError(self._failure)
        if self.connection is None:
            raise StoreUnavailableError("the server closes every connection")
        return self.connection

    def close(self) -> None:
        """Close everything at once."""
        if self._making is not None:
            self._making.cancel()
        for connection in list(self._all):
            connection.abort("the connection was closed by its owner")

    def abandon(self) -> None:
        """Close the sockets after the event loop has ended."""
        for connection in list(self._all):
            connection.abandon()

    async def _make(self) -> None:
        try:
            connection = await self._endpoint.connect()
        except StoreUnavailableError as error:
            self._failure = str(error)
            return
        except Exception as error:  # noqa: BLE001 - a caller's own credential provider may raise anything
            self._failure = f"connecting raised {type(error).__name__}"
            return
        self._all.add(connection)
        if connection.open:
            connection.on_end = self._ended
            self.connection = connection
            self._failure = ""

    def _ended(self, connection: Connection) -> None:
        if self.connection is connection:
            self.connection = None
            if connection.lost:
                self._lost(connection.lost)
            elif connection.suspect:
                self._failure = "the server did not answer"


class AsyncSingle:
    """An asyncio way to one server; belongs to one event loop.

    Lookups and fills share one connection. A second one takes what may hold others up: large fills, and exchanges
    whose callers have time. Measured on 2 cores, more connections make nothing faster: the server then answers every
    connection with a write of its own.

    Args:
        endpoint: where the server is.
        lost: as of ``link.PoolLink``.
    """

    def __init__(self, endpoint: Endpoint, lost: Callable[[str], None]) -> None:
        self._quick = Lane(endpoint, lost)
        self._slow = Lane(endpoint, lost)
        self._clock = LoopClock(lambda _: None)

    async def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` says; a connection that the server has closed is replaced once."""
        blob, started = pack(commands), time.monotonic()
        try:
            return await self._exchange(blob, len(commands), timeout_seconds)
        except ConnectionLost as lost:
            left = timeout_seconds - (time.monotonic() - started)
            if left <= 0 or (lost.sent and not all(command[0] in _READS for command in commands)):
                raise StoreUnavailableError(str(lost)) from lost
        try:
            return await self._exchange(blob, len(commands), left)
        except ConnectionLost as lost:
            raise StoreUnavailableError(str(lost)) from lost

    async def close(self) -> None:
        """Close the connections."""
        self.end()
        await asyncio.sleep(0)  # the event loop closes sockets in its next turn

    def end(self) -> None:
        """Close the connections without waiting for that; called by the loop."""
        for lane in (self._quick, self._slow):
            lane.close()

    def abandon(self) -> None:
        """Close the sockets after the loop has ended, which can no longer close transports."""
        for lane in (self._quick, self._slow):
            lane.abandon()

    async def _exchange(self, blob: bytes, wanted: int, seconds: float) -> list[Any]:
        heavy = seconds > _PATIENT_SECONDS or len(blob) > _LARGE_BYTES
        connection, limit = self._pick(heavy), seconds
        if connection is None or not connection.has_room or connection.has_news:
            with self._clock as clock:
                end = clock.now() + seconds
                lane = self._slow if heavy else self._quick
                if lane.connection is not None and lane.connection.has_news:
                    await asyncio.sleep(0)  # the event loop reads it in its next turn, and learns of an end
                    await asyncio.sleep(0)
                connection = await lane.ready(clock, end)
                await connection.wait_for_room(clock, end)
                seconds = end - clock.now()
            if seconds <= 0:
                raise BusyError("the time was over when the connection was free")
        if connection.is_crowded(seconds):
            await asyncio.sleep(0)  # one that asks again at once must let the event loop read replies
            raise BusyError(f"{connection.in_flight} exchanges are in flight, and the oldest waits for too long")
        try:
            coming = connection.send(blob, wanted, seconds, heavy=heavy)
            connection.ask_role()
            return await coming
        except NoReply as error:
            if not heavy and self._slow.connection is None:
                self._slow.start()  # those who come now should not wait behind what is late
            raise StoreUnavailableError(f"no reply within {limit:.3f} s") from error

    def _pick(self, heavy: bool) -> Connection | None:
        if heavy:
            if self._quick.connection is None:  # lookups come soon
                self._quick.start()
            return self._slow.connection
        quick, spare = self._quick.connection, self._slow.connection
        if quick is not None and quick.stalled(_STALLED_SECONDS):
            if spare is None:
                self._slow.start()
            elif not spare.heavy and not spare.stalled(_STALLED_SECONDS):
                return spare
        return quick
