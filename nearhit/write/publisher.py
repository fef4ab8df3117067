"""Publisher: the caller's side of the fill log, bounded in time, with a spool for the log server's outages."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from typing import TYPE_CHECKING, Any

from nearhit.domain.outcome import FillOutcome
from nearhit.errors import BusyError, ConfigError, NearhitError, StoreUnavailableError
from nearhit.flow.steps import ReplyError
from nearhit.resilience.closing import Closing
from nearhit.resilience.per_process import PerProcess
from nearhit.valkey.durability import (
    CONFIRM_SECONDS,
    FSYNC,
    WRITE,
    check_confirmed,
    check_trial,
    trial_commands,
    wait_for_disk,
)
from nearhit.write import fill_log
from nearhit.write.spool import BATCH_FILLS, Spool, Spooled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.flow.ports import AsyncLink, Link
    from nearhit.flow.steps import Command
    from nearhit.resilience.circuit_breaker import CircuitBreaker
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys
    from nearhit.write.wakeup import WakeUp

log = logging.getLogger("nearhit")

_SPOOL_SECONDS = 2.0

_CONFIRMED_BATCH_FILLS = 1_024
"""Fills that share one confirmation: with ``appendfsync everysec`` there is about one a second."""


class Publisher:
    """Appends fills to the log. What cannot be appended in time waits in memory and is sent when the server is back.

    The promise: an *accepted* fill is in the log, and on its server's disk where durability ``fsync`` asks for that.
    With ``write`` a log's server that is killed may lose up to two seconds of them, unless its ``appendfsync`` is
    ``always``. A *spooled* one is lost if this process ends before the server is back, or if newer ones push it out of
    the bounded spool; both are counted as *dropped* where they can be. A fill whose reply was lost is sent again: it
    may stand in the log twice, and leaves one entry.

    A caller's thread never connects: a connect to a dead address takes as long as its own time limit, whatever the
    caller's deadline. The spool's thread does, and while there is no connection, or another thread uses it, a fill
    goes through the spool in one batch with its neighbours and its caller waits for the batch's reply.

    With durability ``fsync`` a fill is accepted only when the log's server has confirmed that its disk has it. All
    callers of a process, threads and event loops alike, then share the spool's batches and so one confirmation (group
    commit). A fill that is not confirmed within its caller's deadline is *spooled*: it is in the log already, and stays
    in memory until the confirmation comes, or is sent again when that fails.

    Thread-safe and fork-safe: a forked child starts with an empty spool, its parent sends its own.

    Args:
        keys: names of the log.
        link: a blocking way to the log's server, for the spool.
        wakeup: how a worker is told.
        metrics: where outcomes are counted.
        breaker: shared by the publishers of this process.
        direct: a way of its own for callers' threads, with time limits like theirs; ``None`` takes ``link``.
        max_fills: size of the spool; 0 switches it off, and callers' threads connect after all.
        max_bytes: size of the spool in bytes.
        durability: ``write`` or ``fsync``.
    """

    def __init__(  # noqa: PLR0913 - the parts are made in one place, the faces of the cache
        self,
        keys: LogKeys,
        link: Link,
        wakeup: WakeUp,
        metrics: Metrics,
        breaker: CircuitBreaker,
        direct: Link | None = None,
        *,
        max_fills: int = 10_000,
        max_bytes: int = 64 * 1024 * 1024,
        durability: str = WRITE,
    ) -> None:
        self._keys = keys
        self._link = link
        self._direct = direct or link
        self._wakeup = wakeup
        self._metrics = metrics
        self._breaker = breaker
        self._open = metrics.breaker["log"]
        self._spooling = max_fills > 0
        self._closed = False
        self._confirms = durability == FSYNC
        self._send_seconds = _SPOOL_SECONDS + (CONFIRM_SECONDS if self._confirms else 0.0)
        batch = _CONFIRMED_BATCH_FILLS if self._confirms else BATCH_FILLS
        self._state = PerProcess(lambda: _State(Spool(self._send, max_fills, max_bytes, batch)))

    def publish(self, blob: bytes, lane: str, seconds: float) -> FillOutcome:
        """Append a fill within ``seconds``; returns ``accepted``, ``spooled`` or ``dropped`` and never raises."""
        if self._closed:
            return self._refuse()
        end = time.monotonic() + seconds
        fill = Spooled(lane, blob, time.time_ns() // 1_000_000)
        state = self._state.get()
        turn = None
        if not self._spooling or (not self._confirms and not len(state.spool) and (turn := state.enter())):
            try:
                self._appended(self._direct.send(self._commands([fill], seconds), seconds), [fill])
            except StoreUnavailableError as error:
                self._failed(error, state)
                if not isinstance(error, BusyError):
                    end = 0.0  # it has failed once: to wait for the spool as well would count it twice
            else:
                self._succeeded(state)
                return FillOutcome.ACCEPTED
            finally:
                del turn
        return self._keep(fill, state, end)

    @property
    def spooled(self) -> int:
        """How many fills wait in memory."""
        return len(self._state.get().spool)

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until the spool is sent; returns whether it is empty."""
        return self._state.get().spool.flush(timeout_seconds)

    def close(self, timeout_seconds: float = 1.0) -> None:
        """Try once more to send the spool, count what is left as dropped, and stop the threads; take no fill more."""
        self._closed = True
        closing = Closing(timeout_seconds)
        left = self._state.get().spool.close(closing.until(0.8))
        if left:
            self._metrics.fills[FillOutcome.DROPPED].inc(left)
        self._wakeup.close(closing.until(1.0))

    def _refuse(self) -> FillOutcome:
        """Count a fill that came after the end: no thread would send it when the server is back."""
        self._metrics.fills[FillOutcome.DROPPED].inc()
        return FillOutcome.DROPPED

    def _commands(self, fills: Sequence[Spooled], seconds: float) -> list[Command]:
        commands: list[Command] = []
        for fill in fills:
            commands.extend(fill_log.append(self._keys, fill.lane, fill.blob, fill.queued_ms))
        if self._confirms:
            commands.append(wait_for_disk(seconds))
        return commands

    def _appended(self, replies: Sequence[Any], fills: Sequence[Spooled]) -> None:
        added, flags = replies[: 2 * len(fills) : 2], replies[1 : 2 * len(fills) : 2]
        for fill, reply in zip(fills, added, strict=True):
            if isinstance(reply, ReplyError):  # full, or still loading
                raise StoreUnavailableError(f"{self._keys.log(fill.lane)}: {reply.kind}: {reply.text}")
        if self._confirms:
            check_confirmed(replies[-1])
        self._metrics.fills[FillOutcome.ACCEPTED].inc(len(fills))
        for lane in {f.lane for f, flag in zip(fills, flags, strict=True) if flag and not isinstance(flag, ReplyError)}:
            self._wakeup.notify(lane)

    def _failed(self, error: NearhitError, state: _State, *, counted: bool = True) -> None:
        if not isinstance(error, BusyError):
            state.connected = state.proven = False
            state.failure = type(error).__name__
            self._breaker.failed()
            if self._breaker.open:
                self._open.set(1)
        if counted:  # the spool tries twice a second for as long as an outage lasts
            self._metrics.count_error("enqueue", error)
            if isinstance(error, ConfigError):  # no outage: it lasts until somebody reads this
                log.error("no fill is accepted: %s", error, extra={"action": "enqueue"})

    def _succeeded(self, state: _State) -> None:
        state.failure = ""
        if self._breaker.open:
            self._open.set(0)
        self._breaker.succeeded()

    def _keep(self, fill: Spooled, state: _State, end: float) -> FillOutcome:
        if not self._put(fill, state):
            return FillOutcome.DROPPED
        if end and self._is_worth_waiting(state) and not fill.wait(end - time.monotonic()):
            self._breaker.failed()  # so that the callers after this one wait for nothing
        return self._outcome(fill, state)

    def _put(self, fill: Spooled, state: _State) -> bool:
        kept, dropped = state.spool.keep(fill)
        if dropped:
            self._metrics.fills[FillOutcome.DROPPED].inc(dropped)
        return kept

    def _is_worth_waiting(self, state: _State) -> bool:
        return not self._breaker.open and not state.spool.failing

    def _outcome(self, fill: Spooled, state: _State) -> FillOutcome:
        if fill.sent:
            return FillOutcome.ACCEPTED
        if fill.dropped:  # counted by the fill that pushed it out
            return FillOutcome.DROPPED
        self._metrics.spooled.set(len(state.spool))
        self._metrics.fills[FillOutcome.SPOOLED].inc()
        return FillOutcome.SPOOLED

    def _send(self, fills: list[Spooled]) -> bool:
        state = self._state.get()
        try:
            if self._confirms and not state.proven:
                # can the server confirm at all? Asked before it gets a fill: else each try would add all of them anew
                tried = self._link.send(trial_commands(self._keys, CONFIRM_SECONDS), self._send_seconds)
                check_trial(self._keys, tried, CONFIRM_SECONDS)
                state.proven = True
            self._appended(self._link.send(self._commands(fills, CONFIRM_SECONDS), self._send_seconds), fills)
        except (StoreUnavailableError, ConfigError) as error:
            self._failed(error, state, counted=state.failure != type(error).__name__)
            self._metrics.spooled.set(len(state.spool))
            return False
        self._metrics.spooled.set(max(0, len(state.spool) - len(fills)))  # the spool counts what it is sending
        self._succeeded(state)
        if not state.connected and not self._confirms:
            self._connect(state)
        return True

    def _connect(self, state: _State) -> None:
        """Open the connection of the callers' threads; without one they use the spool."""
        try:
            self._direct.send((("EXISTS", self._keys.wake("interactive")),), _SPOOL_SECONDS)  # in a cluster: that node
        except StoreUnavailableError:
            return
        state.connected = True


class AsyncPublisher(Publisher):
    """Appends the fills of event loops; the same, with ``direct`` as an asyncio way to the log's server."""

    def __init__(
        self,
        keys: LogKeys,
        link: Link,
        wakeup: WakeUp,
        metrics: Metrics,
        breaker: CircuitBreaker,
        direct: AsyncLink,
        **options: Any,
    ) -> None:
        super().__init__(keys, link, wakeup, metrics, breaker, **options)
        self._loop_link = direct

    async def publish_async(self, blob: bytes, lane: str, seconds: float) -> FillOutcome:
        """Append a fill as ``publish`` does, without blocking the loop."""
        if self._closed:
            return self._refuse()
        end = time.monotonic() + seconds
        fill = Spooled(lane, blob, time.time_ns() // 1_000_000)
        state = self._state.get()
        if self._confirms and self._spooling:
            return await self._keep_async(fill, state, end)
        # while the spool is being sent, new fills queue up behind it, so that the order of a caller's fills is kept
        if not len(state.spool) and self._breaker.allows():
            try:
                self._appended(await self._loop_link.send(self._commands([fill], seconds), seconds), [fill])
            except StoreUnavailableError as error:
                self._failed(error, state)
            else:
                self._succeeded(state)
                return FillOutcome.ACCEPTED
        return self._keep(fill, state, 0.0)

    async def _keep_async(self, fill: Spooled, state: _State, end: float) -> FillOutcome:
        """Wait for the spool's thread without blocking the loop; the twin of ``_keep``."""
        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def tell() -> None:
            try:
                loop.call_soon_threadsafe(told.set)
            except RuntimeError:
                return  # the loop has ended, and nobody waits any more

        fill.heard = tell
        if not self._put(fill, state):
            return FillOutcome.DROPPED
        if self._is_worth_waiting(state):
            try:
                async with asyncio.timeout(max(0.0, end - time.monotonic())):
                    await told.wait()
            except TimeoutError:
                self._breaker.failed()
        return self._outcome(fill, state)


class _State:
    """What one process has: its spool, and what is known of the server.

    Attributes:
        spool: fills that wait.
        connected: callers' threads find an open connection.
        failure: the kind of error with which the last try failed; empty for none.
        proven: the server has confirmed a write since the last failure.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.connected = False
        self.failure = ""
        self.proven = False
        self._turn: weakref.ref[_Turn] | None = None

    def enter(self) -> _Turn | None:
        """Return the right to use the one connection; whoever lets go of it, interrupted or not, gives it back.

        Two threads that meet here may both get one: the link has more connections.
        """
        if not self.connected or (self._turn is not None and self._turn() is not None):
            return None
        turn = _Turn()
        self._turn = weakref.ref(turn)
        return turn


class _Turn:
    """The right of one caller to use the callers' connection."""
