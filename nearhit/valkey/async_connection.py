"""Async connection: one connection that every coroutine of an event loop uses at the same time."""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from hiredis import PushNotification
from redis.exceptions import InvalidResponse

from nearhit.errors import BusyError
from nearhit.flow.steps import ReplyError
from nearhit.valkey.exchange import Alarm, ConnectionLost, Exchange, NoReply
from nearhit.valkey.handshake import ROLE, ROLE_SECONDS, WHO, role_of, why_lost
from nearhit.valkey.packed_command import pack
from nearhit.valkey.reply_reader import NO_REPLY, ReplyReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.resilience.loop_clock import LoopClock

MOST_IN_FLIGHT: Final = 4_096
"""Exchanges that may wait for replies on one connection; further callers wait until one of them is done."""

MOST_UNSENT_BYTES: Final = 1 << 20
"""Bytes that may wait for the server to take them before further callers wait; one exchange may be longer."""

SILENT_SECONDS: Final = 0.25
"""A connection gets no further commands when a caller gave up and it has delivered nothing for this long."""

SLOW_SECONDS: Final = 1.0
"""The same when its oldest exchange takes longer than this, and than its caller allows: the replies only dribble."""

_CROWD: Final = 64
"""With fewer exchanges in flight nobody is refused for the length of the queue."""

_MOST_OF_TIME: Final = 0.9
"""Share of a caller's time that those before it may take before it is refused at once."""

_FULL_READ = 200 * 1024
"""A read of this size or more may have left something behind: event loops read 256 KiB at a time."""

_LATE_SECONDS = 0.004
"""Two turns of an event loop that take longer than this are those of a busy one."""

_MOST_LOOKS = 64

_WHO = pack([WHO])


class Connection(asyncio.Protocol):
    """Sends what all callers ask in the order of asking, and gives each the replies to what it asked.

    What is asked within one turn of the event loop leaves in one write. A caller that gives up leaves its place in the
    order behind, which takes its replies when they come, so that nobody gets the replies of another.

    A deadline counts from the moment of sending, and it passes only after everything that had arrived was read: a reply
    that waits in the socket while the event loop does something else is delivered, however late the loop is.

    Belongs to one event loop.

    Attributes:
        open: it takes commands.
        greeted: the handshake is over; replies that refuse the user mean the end from then on.
        suspect: it was retired because the server does not answer on it, or does not know who we are.
        lost: why it was given up though it works, one of ``handshake.RECONNECT_REASONS``; empty otherwise.
        role: of the server, as it said in the handshake; empty where it did not.
        keeps: what must live as long as this.
        heavy: how many exchanges in flight were said to take long.
        on_end: called once when it takes no further commands.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.on_end: Callable[[Connection], None] | None = None
        self._reader = ReplyReader()
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._waiting: deque[Exchange] = deque()
        self._unsent: list[Exchange] = []
        self._unsent_bytes = 0
        self._flushing = False
        self._paused = False
        self._room: deque[asyncio.Future[None]] = deque()
        self._received_at = self._completed_at = 0.0
        self._reads = self._last_read = 0
        self._watch: asyncio.Handle | None = None
        self._alarm = Alarm(self._loop, self._expire)
        self.keeps: object = None
        self.heavy = 0
        self.open = False
        self.greeted = False
        self.suspect = False
        self.lost = self.role = ""
        self._asked_at = self._loop.time()

    # What an event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - streams alone are connected
        self._transport = transport
        transport.set_write_buffer_limits(high=MOST_UNSENT_BYTES)
        known = self.socket
        if known is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(known.fileno(), select.POLLIN)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are complete now."""
        self._received_at = self._loop.time()
        self._reads += 1
        self._last_read = len(data)
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not NO_REPLY:
                if type(reply) is PushNotification:
                    continue
                self._take(reply)
        except InvalidResponse as error:
            self.abort(f"{type(error).__name__}: {error}")
        if self._room:
            self._make_room()

    def pause_writing(self) -> None:
        """Let further callers wait: the server does not take what is sent."""
        self._paused = True

    def resume_writing(self) -> None:
        """Let callers send again."""
        self._paused = False
        self._make_room()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell everybody who waits."""
        self._end(f"{type(error).__name__}: {error}" if error else "the server closed the connection")
        self._transport = None

    # What callers call.

    @property
    def in_flight(self) -> int:
        """How many exchanges wait for replies, those of callers that have gone included."""
        return len(self._waiting)

    @property
    def socket(self) -> Any:
        """The socket, to set options; ``None`` where the event loop shows none."""
        return self._transport.get_extra_info("socket") if self._transport is not None else None

    @property
    def has_room(self) -> bool:
        """Whether a caller may send now."""
        return not self._paused and len(self._waiting) < MOST_IN_FLIGHT and self._unsent_bytes < MOST_UNSENT_BYTES

    @property
    def has_news(self) -> bool:
        """Whether something has arrived though nothing was asked: mostly the end of the connection."""
        return not self._waiting and self._poll is not None and self.open and bool(self._poll.poll(0))

    def is_crowded(self, seconds: float) -> bool:
        """Return whether a caller with ``seconds`` would wait in vain: so many are before it, and so slowly they go.

        What counts is how old the oldest exchange was when the event loop last read all that had arrived: what came
        since is no delay of the server. Were everybody let in, the server would work for callers that have gone.
        """
        if len(self._waiting) < _CROWD or self._last_read >= _FULL_READ:
            return False
        return self._received_at - (self._waiting[0].sent_at or self._received_at) > _MOST_OF_TIME * seconds

    def stalled(self, seconds: float) -> bool:
        """Return whether commands are in flight and no reply has become complete for ``seconds``."""
        return self._silent_for() > seconds

    def _silent_for(self) -> float:
        """Return for how long commands have been in flight without that any reply became complete."""
        if not self._waiting:
            return 0.0
        return self._loop.time() - max(self._completed_at, self._waiting[0].sent_at or 0.0)

    async def wait_for_room(self, clock: LoopClock, end: float) -> None:
        """Wait until a caller may send, in the order of coming.

        Args:
            clock: of the loop, in use.
            end: until when to wait, by that clock.

        Raises:
            BusyError: the time is over.
            ConnectionLost: the connection has ended meanwhile.
        """
        while self.open and not self.has_room:
            place: asyncio.Future[None] = self._loop.create_future()
            self._room.append(place)
            try:
                if not await clock.wait(place, end):
                    raise BusyError(f"{self.in_flight} exchanges are in flight, and none came to its end in time")
            finally:
                place.cancel()  # the place of a caller that has gone is given to the next one
        if not self.open:
            raise ConnectionLost("the connection ended", sent=False)

    def send(self, blob: bytes, wanted: int, seconds: float, *, heavy: bool = False) -> asyncio.Future[list[Any]]:
        """Send packed commands; the result are their replies, error replies as ``ReplyError``.

        Args:
            blob: one or more commands, packed.
            wanted: how many replies they have.
            seconds: how long the server may take. The future then fails with ``NoReply``.
            heavy: they may take long; see ``heavy``.
        """
        exchange = Exchange(blob, wanted, seconds, self._loop.create_future())
        if heavy:
            exchange.heavy = True
            self.heavy += 1
        alone = not self._waiting
        self._waiting.append(exchange)
        self._unsent.append(exchange)
        self._unsent_bytes += len(blob)
        self._alarm.set(exchange, self._loop.time() + seconds)
        if alone:  # with nothing in flight there is nothing to wait for
            self._flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return exchange.future

    def ask_role(self) -> None:
        """Ask now and then whether the server is still what it was; one that has changed its role is left."""
        now = self._loop.time()
        if self.role and now - self._asked_at > ROLE_SECONDS and self.open:
            self._asked_at = now
            self.send(_WHO, 1, SLOW_SECONDS).add_done_callback(self._heard_role)

    def retire(self) -> None:
        """Take no further commands, and close when the last caller has gone."""
        self._stop()
        self._close_if_left()

    def abort(self, why: str) -> None:
        """Close at once; whoever still waits gets ``ConnectionLost``."""
        transport = self._transport
        self._end(why)
        if transport is not None:
            transport.abort()

    def abandon(self) -> None:
        """Close the socket after the event loop has ended, which can no longer close transports."""
        sock = getattr(self.socket, "_sock", None)  # a loop of another make has none, and the collector closes its own
        if sock is not None:
            sock.close()
            transport: Any = self._transport
            if hasattr(transport, "_sock"):  # else its finalizer warns of a socket that is closed already
                transport._sock = None  # noqa: SLF001 - asyncio closes a transport by its loop alone
        self._transport = None

    def _heard_role(self, asked: asyncio.Future[list[Any]]) -> None:
        if not asked.cancelled() and asked.exception() is None and role_of(asked.result()[0]) not in {"", self.role}:
            self._leave(ROLE)

    def _leave(self, reason: str) -> None:
        self.lost, self.suspect = reason, True
        self.retire()

    def _flush(self) -> None:
        self._flushing = False
        unsent, transport = self._unsent, self._transport
        if not unsent or transport is None:
            return
        self._unsent, self._unsent_bytes = [], 0
        now = self._loop.time()
        for exchange in unsent:
            exchange.sent_at = now
        transport.write(unsent[0].blob if len(unsent) == 1 else b"".join([one.blob for one in unsent]))
        for exchange in unsent:
            exchange.blob = b""
        if self._room:
            self._make_room()

    def _take(self, reply: Any) -> None:
        if not self._waiting:
            self.abort("the server sent a reply that nobody had asked for")
            return
        exchange = self._waiting[0]
        exchange.replies.append(reply)
        if len(exchange.replies) == exchange.wanted:
            self._waiting.popleft()
            self._completed_at = self._received_at
            self._finish(exchange)

    def _finish(self, exchange: Exchange) -> None:
        exchange.answered = True
        self._alarm.forget_answered()
        if exchange.timer is not None:
            exchange.timer.cancel()
        if exchange.heavy:
            self.heavy -= 1
        future = exchange.future
        lost = [one for one in exchange.replies if type(one) is ReplyError and why_lost(one)]
        if lost and self.greeted:
            done = len(lost) < exchange.wanted  # some of it may have been done before the server changed
            exchange.fail(ConnectionLost(f"{lost[0].kind}: {lost[0].text}", sent=done))
            self._leave(why_lost(lost[0]))
        elif not future.done():
            future.set_result(exchange.replies)
        if not self.open:
            self._close_if_left()

    def _expire(self, exchange: Exchange) -> None:
        """Fail an exchange whose time is over, but only after what had arrived by then was read.

        Event loops differ in what comes first in a turn, timers or sockets; two turns later both have had theirs.
        """
        now = self._loop.time()
        if not exchange.future.done():
            left = exchange.seconds - (now - exchange.sent_at) if exchange.sent_at is not None else exchange.seconds
            if left > 0:  # a busy loop sent it later than it was asked for
                self._alarm.set(exchange, now + left)
                return
            if exchange.looks == 0 or (exchange.looks < _MOST_LOOKS and self._is_behind(exchange, now)):
                exchange.looks += 1
                exchange.looked_at, exchange.reads = now, self._reads
                exchange.timer = self._loop.call_soon(self._look_again, exchange)
                return
            if self._silent_for() < exchange.seconds / 2:
                exchange.fail(BusyError(f"{self.in_flight} exchanges are in flight; their replies come too late"))
            else:
                exchange.fail(NoReply("no reply in time"))
        exchange.timer = None
        self._doubt()
        self._close_if_left()

    def _look_again(self, exchange: Exchange) -> None:
        exchange.timer = self._loop.call_soon(self._expire, exchange)

    def _is_behind(self, exchange: Exchange, now: float) -> bool:
        """Return whether the loop cannot keep up with what the server sends, so that more may lie in the socket."""
        arrived = self._reads > exchange.reads
        return arrived and (self._last_read >= _FULL_READ or now - exchange.looked_at > _LATE_SECONDS)

    def _doubt(self) -> None:
        """Retire where the server says nothing, or next to nothing; look again later where it is too early to tell."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if not self.open or not self._waiting:
            return
        now, oldest = self._loop.time(), self._waiting[0]
        since = oldest.sent_at if oldest.sent_at is not None else now
        silent = now - max(since, self._received_at)
        if silent >= SILENT_SECONDS or now - since >= max(SLOW_SECONDS, oldest.seconds):
            self.suspect = True
            self.retire()
        else:
            self._watch = self._loop.call_later(SILENT_SECONDS - silent + 0.001, self._doubt)

    def _close_if_left(self) -> None:
        """Close a retired connection that nobody waits for: its oldest callers get their replies until then."""
        if self.open:
            return
        while self._waiting and self._waiting[-1].future.done():
            self._waiting.pop()
        if not self._waiting:
            self.abort("the connection was retired")

    def _make_room(self) -> None:
        """Wake as many as may send; whoever finds no room again waits again."""
        free = MOST_IN_FLIGHT - len(self._waiting)
        while self._room and free > 0 and self.has_room:
            place = self._room.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1

    def _stop(self) -> None:
        if self.open:
            self.open = False
            if self._watch is not None:
                self._watch.cancel()
            while self._room:
                place = self._room.popleft()
                if not place.done():
                    place.set_result(None)
            if self.on_end is not None:
                self.on_end(self)

    def _end(self, why: str) -> None:
        self._stop()
        self._poll = None
        waiting, self._waiting, self._unsent = self._waiting, deque(), []
        self._alarm.end()
        for exchange in waiting:
            if exchange.timer is not None:
                exchange.timer.cancel()
            exchange.fail(ConnectionLost(why, sent=exchange.sent_at is not None))
