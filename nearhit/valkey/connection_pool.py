"""Connection pool: the connections of this process to one server, made in the background and kept between calls."""

from __future__ import annotations

import _thread
import queue
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final

from nearhit.errors import BusyError, StoreUnavailableError

if TYPE_CHECKING:
    from nearhit.valkey.connector import Connector
    from nearhit.valkey.open_connection import OpenConnection

_SLICE_SECONDS: Final = 0.05
"""How long a caller waits before it looks again by itself, in case that an interrupt has swallowed its wake-up."""

_MOMENT_SECONDS: Final = 0.001
"""How long a caller that leaves waits for the connection that somebody is about to hand it."""

_PAUSE_SECONDS: Final = 0.25
"""How long after a failed connect the next one waits while other connections work."""


class ConnectionPool:
    """Gives each caller a connection of its own, the most recent first, or makes it wait for one.

    A caller never connects. Threads in the background do, as many as callers wait, and go on when a caller's deadline
    ends: the connection serves the next one. Where a caller's first command cannot have its answer in time any more,
    the connection is left to the next one, too.

    Thread-safe, and safe from exceptions that signal handlers raise anywhere: connections are counted by the living
    objects, not by permits; one that an interrupted caller lost closes itself. Belongs to one process.

    Args:
        connector: makes connections.
        limit: connections at most.

    Attributes:
        answered_at: when the server has answered last, on any connection; by ``time.monotonic``.
    """

    def __init__(self, connector: Connector, limit: int) -> None:
        self._connector = connector
        self._limit = limit
        self._idle: list[OpenConnection] = []
        self._waiting: deque[_Waiter] = deque()
        self._lock = threading.Lock()  # of the background threads: no signal handler runs there
        self._attempts: dict[object, float] = {}  # when each connect began
        self._opened: list[weakref.ref[OpenConnection]] = []
        self._round_trip = 0.0  # the shortest one seen
        self._trouble = ""  # what failed since the last connect that succeeded; an exception would hold its frames
        self._next_attempt = 0.0
        self._wanted_spare = False
        self._address: tuple[str, int] | None = None  # of the primary, as sentinels named it last
        self._closed = False
        self._full = False  # at the last count; to count the living costs more than a command
        self.answered_at = 0.0

    def take(self, deadline: float) -> OpenConnection:
        """Return a connection; give it to ``keep`` or ``drop`` afterwards.

        Raises:
            BusyError: none came free within the time, or the first one is still being made.
            StoreUnavailableError: no connection can be made.
        """
        try:
            return self._idle.pop()
        except IndexError:
            return self._wait(deadline)

    def take_quiet(self, deadline: float) -> OpenConnection:
        """Return a connection that the server has not closed meanwhile, as far as can be seen; raises as ``take``."""
        while not (connection := self.take(deadline)).is_quiet():
            self.drop(connection)
        return connection

    def keep(self, connection: OpenConnection) -> None:
        """Take a connection back whose replies were all read."""
        if connection.address != self._address:  # to a former primary, which may hang
            self.drop(connection)
            return
        self._idle.append(connection)
        if self._waiting or self._closed:
            self._serve()

    def drop(self, connection: OpenConnection, error: Exception | None = None) -> None:
        """Close a connection of which a step has failed.

        Args:
            connection: what ``take`` gave.
            error: the server did not answer in time; a new connection is made at once, for the next caller.
        """
        connection.close()
        self._full = False
        if error is not None:
            self._trouble = _named(error)
            self._wanted_spare = not self._idle
        if self._waiting or self._wanted_spare:
            self._connect_more()

    def leave(self) -> None:
        """Close what is idle: the server is no longer the one to talk to."""
        self._full = False
        for _ in range(len(self._idle)):
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def weed(self) -> None:
        """Close what the server has closed, after it was seen to close one connection."""
        self._full = False
        for _ in range(len(self._idle)):
            try:
                connection = self._idle.pop(0)
            except IndexError:
                return
            if connection.is_quiet():
                self.keep(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close all connections; callers that still wait for a reply find theirs closed."""
        self._closed = True
        self._tell("the link is closed")
        for one in self._living():
            one.abort()
        self._serve()

    def _wait(self, deadline: float) -> OpenConnection:
        waiter = _Waiter(deadline)
        self._waiting.append(waiter)
        try:
            self._serve()  # one may have come back meanwhile
            while (served := waiter.served(0)) is None:
                if self._closed:
                    raise StoreUnavailableError("the link is closed")
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._connect_more()
                if (served := waiter.served(min(left, _SLICE_SECONDS))) is not None:
                    break
                self._full = False  # an interrupted caller may have lost one
                if waiter not in self._waiting:  # who took it out was interrupted, or is just about to serve it
                    self._waiting.append(waiter)
        finally:
            gone = self._forget(waiter)
        if served is None and gone:
            served = waiter.served(_MOMENT_SECONDS)
        if isinstance(served, str):
            raise StoreUnavailableError(served)
        if served is None:
            raise self._too_late()
        if deadline - time.monotonic() < self._round_trip:
            self.keep(served)
            raise BusyError(f"a connection came too late for a round trip of {self._round_trip:.3f} s")
        return served

    def _too_late(self) -> StoreUnavailableError:
        living, attempts = len(self._living()), list(self._attempts.values())
        if living:
            return BusyError(f"no connection came free within the time: {living} of {self._limit} are in use")
        if self._trouble:
            return StoreUnavailableError(f"no connection yet; before: {self._trouble}")
        if attempts and time.monotonic() - min(attempts) > self._connector.seconds:
            return StoreUnavailableError(f"no connection within {self._connector.seconds:g} s")
        return BusyError("the first connection is still being made")

    def _serve(self) -> None:
        """Hand free connections to those who wait, the first one first."""
        while self._idle and (self._waiting or self._closed):
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            if self._closed:
                connection.close()
            elif (waiter := self._next_waiter()) is not None:
                waiter.box.put(connection)
            else:
                self._idle.append(connection)

    def _next_waiter(self) -> _Waiter | None:
        now = time.monotonic()
        try:
            while (waiter := self._waiting.popleft()).deadline < now:
                pass  # its caller was interrupted, or is about to leave
        except IndexError:
            return None
        return waiter

    def _forget(self, waiter: _Waiter) -> bool:
        """Take a caller out of the queue; return whether somebody has already done so to serve it."""
        try:
            self._waiting.remove(waiter)
        except ValueError:
            return True
        return False

    def _tell(self, message: str) -> None:
        """Let all who wait fail."""
        while (waiter := self._next_waiter()) is not None:
            waiter.box.put(message)

    def _living(self) -> list[OpenConnection]:
        return [one for ref in list(self._opened) if (one := ref()) is not None and not one.closed]

    def _missing(self) -> int:
        """Return how many connects should begin now."""
        if self._closed or self._full:
            return 0
        living = len(self._living())
        self._full = living >= self._limit
        wanted = min(len(self._waiting) + self._wanted_spare, self._limit - living)
        if self._trouble:
            wanted = min(wanted, 1)
            if living and time.monotonic() < self._next_attempt:
                return 0
        return wanted - len(self._attempts)

    def _connect_more(self) -> None:
        """Start what connects, from a thread that no signal handler can interrupt in the middle."""
        if self._missing() <= 0:
            return
        try:
            _thread.start_new_thread(self._start_attempts, ())
        except RuntimeError as error:  # too many threads, or Python is ending
            self._trouble = _named(error)

    def _start_attempts(self) -> None:
        with self._lock:
            while self._missing() > 0:
                attempt = object()
                self._attempts[attempt] = time.monotonic()
                self._wanted_spare = False
                try:
                    threading.Thread(target=self._attempt, args=(attempt,), name="nearhit-connect", daemon=True).start()
                except RuntimeError as error:
                    del self._attempts[attempt]
                    self._trouble = _named(error)
                    return

    def _attempt(self, attempt: object) -> None:
        try:
            made = self._connector.connect()
        except BaseException as error:  # noqa: BLE001 - a credential provider may raise anything
            with self._lock:
                self._attempts.pop(attempt, None)
                self._trouble = _named(error)
                self._next_attempt = time.monotonic() + _PAUSE_SECONDS
                alone = not self._attempts and not self._living()
            if alone:
                self._tell(self._trouble)
            return
        with self._lock:
            self._opened = [ref for ref in self._opened if (one := ref()) is not None and not one.closed]
            self._opened.append(weakref.ref(made))
            self._attempts.pop(attempt, None)
            self._trouble = ""
            if made.address != self._address:
                self._address = made.address
                self.leave()
            if made.round_trip_seconds:
                self._round_trip = min(made.round_trip_seconds, self._round_trip or made.round_trip_seconds)
        self.keep(made)


class _Waiter:
    """A caller that waits."""

    __slots__ = ("box", "deadline")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.box: queue.SimpleQueue[OpenConnection | str] = queue.SimpleQueue()  # no interrupt breaks it

    def served(self, seconds: float) -> OpenConnection | str | None:
        """Return the connection, or why there is none, that came within ``seconds``."""
        try:
            return self.box.get(timeout=seconds) if seconds > 0 else self.box.get_nowait()
        except queue.Empty:
            return None


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
