"""Single flight: of many processes that miss the same question at once, one asks the model and the others wait for it.

The lease stands on the log's server, which never evicts. Its holder renews it from a thread, so that it may be short:
the others are released within ``LEASE_SECONDS`` when the holder's process is killed, however long a model may take.

An answer is handed over for no longer than its entry would live, and not beyond an invalidation: each invalidation
changes the namespace's *mark*, and an answer carries the one that stood when its question was taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import secrets
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from nearhit.domain import entry
from nearhit.errors import EntryError, StoreUnavailableError
from nearhit.flow.steps import Flow, ReplyError, Send
from nearhit.resilience.background import Background
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.resilience.per_process import PerProcess
from nearhit.valkey import server_scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.domain.outcome import Miss
    from nearhit.flow.ports import Link
    from nearhit.flow.steps import Command
    from nearhit.resilience.background import Inbox
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys

LEASE_SECONDS = 5.0
"""How long the others are held by a process that was killed."""

ANSWER_SECONDS = 10.0
"""How long an answer stands for those who wait for it; its entry is searchable long before."""

MAX_ANSWER_BYTES = 1024 * 1024
"""Larger answers are not handed over: those who wait ask by themselves."""

JOIN_SECONDS = 0.5
"""How long a round trip to the log's server may take; when it takes longer, the caller is on its own."""

FORGET_SECONDS = 1.0
"""How long the round trip of an invalidation to the log's server may take."""

_LEASE_MS = round(LEASE_SECONDS * 1000)
_RENEW_SECONDS = LEASE_SECONDS / 4

REST_SECONDS = 5.0
"""For how long everybody is on his own after such a failure, before one caller tries again."""

MARK_SECONDS = 86_400
"""How long a mark stands: longer than any model takes. Then there is none, as before the first invalidation."""

_SECONDS = 1.0
_FIRST_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 0.25

_LEASED = b"l:"
_ANSWERED = b"a:"


@dataclass(frozen=True, slots=True)
class Flight:
    """A question that one process asks its model for all; ``mark`` is that of the namespace when it began."""

    name: str
    token: bytes
    mark: bytes = b""


@dataclass(frozen=True, slots=True)
class Joined:
    """An answer that another process has got."""

    answer: Any


class SingleFlight:
    """Who asks the model, for one face of the cache. Thread-safe and fork-safe; nothing here raises.

    Args:
        keys: names of the log.
        link: a blocking way to the log's server, for the thread that renews leases.
        metrics: where it is counted.
        wait_seconds: how long a process waits for another one; 0 switches single flight off.
    """

    def __init__(self, keys: LogKeys, link: Link, metrics: Metrics, wait_seconds: float) -> None:
        self._keys = keys
        self._link = link
        self._metrics = metrics
        self._wait_seconds = wait_seconds
        self._breaker = CircuitBreaker(failures=1, cool_down_seconds=REST_SECONDS)
        self._held: PerProcess[set[Flight]] = PerProcess(set)
        self._thread: Background[Callable[[], list[Command]]] = Background("nearhit-flights", self._keep)
        self._counts = metrics.flights
        self._counts.start(("led", "joined", "gave_up", "unavailable"))

    def join(self, miss: Miss) -> Flow[Joined | Flight | None]:
        """Return another process's answer, or the flight that the caller now leads; ``None``: it is on its own.

        A flow for the log's server; each round trip may take ``JOIN_SECONDS``.
        """
        try:
            result = yield from self._ask(miss)
        except StoreUnavailableError as error:
            self._breaker.failed()
            self._counts["unavailable"].inc()
            self._metrics.count_error("single_flight", error)
            return None
        if isinstance(result, Flight):
            self._counts["led"].inc()
            self._held.get().add(result)
            self._thread.put(list)  # nothing to send; where the machine gives no thread, leases end by themselves
        elif isinstance(result, Joined):
            self._counts["joined"].inc()
        return result

    def land(self, flight: Flight | None, answer: Any, life_seconds: float = ANSWER_SECONDS) -> None:
        """Hand the answer to those who wait; returns at once.

        Args:
            flight: what ``join`` gave.
            answer: what the model said.
            life_seconds: how long the answer's entry lives.
        """
        if flight is None:
            return
        life = life_seconds if isinstance(life_seconds, int | float) and life_seconds > 0 else 0.0
        end = time.monotonic() + min(ANSWER_SECONDS, life)
        self._end(flight, partial(_hand_over, flight, _blob(answer), end))

    def forget(self) -> Flow[None]:
        """Do as ``forget`` of this module does; a failure is counted."""
        try:
            yield from forget(self._keys)
        except StoreUnavailableError as error:
            self._metrics.count_error("single_flight", error)

    def abandon(self, flight: Flight | None) -> None:
        """Let another one lead: there is no answer. Returns at once."""
        if flight is not None:
            self._end(flight, partial(_release, flight))

    def close(self, timeout_seconds: float = 2 * _SECONDS) -> None:
        """Send what is left to send, within the time given, and stop the thread."""
        self._thread.close(timeout_seconds)

    def _ask(self, miss: Miss) -> Flow[Joined | Flight | None]:
        if self._wait_seconds <= 0 or miss.bypass or not miss.prompt:
            return None
        if not self._breaker.allows():
            self._counts["unavailable"].inc()
            return None
        digest = hashlib.sha256(f"{miss.scope}\n{miss.prompt}".encode()).hexdigest()[:32]
        flight = Flight(self._keys.flight(digest), _LEASED + secrets.token_hex(8).encode())
        end = time.monotonic() + self._wait_seconds
        pause, longest = 0.0, _FIRST_POLL_SECONDS
        asking = (
            ("SET", flight.name, flight.token, "NX", "GET", "PX", _LEASE_MS),
            ("GET", self._keys.invalidated),
            ("PEXPIRE", flight.name, round(ANSWER_SECONDS * 1000), "LT"),  # what another program left without an end
        )
        while True:
            there, mark, _ = yield Send(asking, after_seconds=pause)
            self._breaker.succeeded()
            flight = replace(flight, mark=mark if isinstance(mark, bytes) else b"")
            if there is None:
                return flight
            if not isinstance(there, bytes) or not there.startswith(_LEASED):
                joined = self._handed_over(there, flight)
                if joined is not None:
                    return joined
                seen = there if isinstance(there, bytes) else b""
                if (yield Send((server_scripts.replace(flight.name, seen, flight.token, _LEASE_MS),)))[0] == 1:
                    return flight
            if time.monotonic() >= end:
                self._counts["gave_up"].inc()
                return None
            pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads polls, guards nothing
            longest = min(2 * longest, _LONGEST_POLL_SECONDS)

    def _handed_over(self, there: Any, flight: Flight) -> Joined | None:
        """Return the answer that stands there; ``None`` where it was invalidated, or is none and is counted."""
        if isinstance(there, ReplyError) and not there.says("WRONGTYPE"):
            raise StoreUnavailableError(f"{flight.name}: {there.kind}: {there.text}")
        try:
            return _read_answer(there, flight)
        except EntryError as error:
            self._metrics.count_error("single_flight", error)
            return None

    def _end(self, flight: Flight, last: Callable[[], list[Command]]) -> None:
        self._held.get().discard(flight)
        self._thread.put(last)

    def _keep(self, inbox: Inbox[Callable[[], list[Command]]]) -> None:
        """Renew the leases of this process and send the last command of each flight, until none is held."""
        held, due = self._held.get(), time.monotonic() + _RENEW_SECONDS
        while not inbox.ended:
            commands: list[Command] = []
            last = inbox.take(max(0.0, due - time.monotonic()))
            while last is not None:
                commands += last()
                last = inbox.take(0.0)
            if not inbox.ended and time.monotonic() >= due:
                due = time.monotonic() + _RENEW_SECONDS
                if not commands and not held:
                    return
                commands += [server_scripts.renew(one.name, one.token, _LEASE_MS) for one in tuple(held)]
            if commands:
                with contextlib.suppress(StoreUnavailableError):  # leases end by themselves, and the wait of the others
                    self._link.send(commands, _SECONDS)


def forget(keys: LogKeys) -> Flow[None]:
    """Hand no answer over whose question was taken before now, for the worker that invalidates entries.

    Raises:
        StoreUnavailableError: the log's server does not answer, or refuses.
    """
    reply = (yield Send((("SET", keys.invalidated, secrets.token_hex(8), "EX", MARK_SECONDS),)))[0]
    if isinstance(reply, ReplyError):
        raise StoreUnavailableError(f"{keys.invalidated}: {reply.kind}: {reply.text}")


def _read_answer(there: Any, flight: Flight) -> Joined | None:
    """Return the answer that stands there; ``None`` where an invalidation came after its question was taken.

    Raises:
        EntryError: it is none.
    """
    if not isinstance(there, bytes) or not there.startswith(_ANSWERED):
        raise EntryError(f"{flight.name} holds neither a lease nor an answer")
    mark, _, blob = there[len(_ANSWERED) :].partition(b":")
    return Joined(entry.decode_response(blob)) if mark == flight.mark else None


def _blob(answer: Any) -> bytes:
    """Return an answer as it is handed over; empty for one that is not."""
    try:
        blob = entry.encode_response(answer)
    except EntryError:
        return b""
    return b"" if len(blob) > MAX_ANSWER_BYTES or answer is None or answer == "" else blob


def _hand_over(flight: Flight, blob: bytes, end: float) -> list[Command]:
    """Return what hands an answer over until ``end``, by this machine's monotonic clock."""
    left_ms = round((end - time.monotonic()) * 1000)
    if not blob or left_ms <= 0:
        return _release(flight)
    after = _ANSWERED + flight.mark + b":" + blob
    return [server_scripts.replace(flight.name, flight.token, after, left_ms)]


def _release(flight: Flight) -> list[Command]:
    return [server_scripts.release(flight.name, flight.token)]
