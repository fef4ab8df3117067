"""Durability: how the log's server confirms that accepted fills are on disk (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import structs

from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.flow.steps import Flow, ReplyError, Send, accepted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.flow.steps import Command
    from nearhit.valkey.key_names import LogKeys

T = TypeVar("T")

WRITE = "write"
"""Accepted: the log's server has answered the write."""

FSYNC = "fsync"
"""Accepted: the log's server has confirmed, by WAITAOF, that the write is in its append-only file."""

DURABILITIES = (WRITE, FSYNC)

CONFIRM_SECONDS = 10.0
"""How long a batch waits for its confirmation before it counts as failed and is sent again.

With ``appendfsync everysec`` a confirmation takes up to a second and the server's fsync, and the server may hold a
write back for two seconds more while an fsync runs.
"""

_TRIAL_MS = 60_000


def wait_for_disk(seconds: float) -> Command:
    """Return the command that waits for the writes that its own connection sent before it."""
    return ("WAITAOF", 1, 0, max(1, int(seconds * 1000)))


def check_confirmed(reply: Any) -> None:
    """Check the reply to ``wait_for_disk``.

    Raises:
        StoreUnavailableError: the server did not confirm the writes in time, or cannot.
    """
    if isinstance(reply, ReplyError):
        raise StoreUnavailableError(_refusal(reply))
    if int(reply[0]) < 1:
        raise StoreUnavailableError("the log's server did not confirm in time that the fills are on its disk")


def confirmed(flow: Flow[T], seconds: float = CONFIRM_SECONDS) -> Flow[T]:
    """Return the same flow, in which each step that sends waits for the server's disk in the same round trip.

    Raises:
        StoreUnavailableError: the server did not confirm the writes in time, or cannot.
    """
    try:
        step = next(flow)
        while isinstance(step, Send):
            replies = yield structs.replace(step, commands=(*step.commands, wait_for_disk(seconds)))
            check_confirmed(replies[-1])
            step = flow.send(replies[:-1])
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise TypeError(f"a flow of the log only sends, this one wants {step!r}")


def trial_commands(keys: LogKeys, seconds: float) -> tuple[Command, Command]:
    """Return the commands that try out whether the log's server can confirm a write.

    They write an empty key that expires by itself. Without an append-only file, or without WAITAOF, the server
    refuses at once; with ``appendfsync no`` it never confirms.
    """
    return ("SET", keys.trial, 1, "PX", _TRIAL_MS), wait_for_disk(seconds)


def trial(keys: LogKeys, seconds: float = CONFIRM_SECONDS) -> Flow[None]:
    """Try out whether the log's server can confirm a write.

    Raises:
        ConfigError: it cannot; the message says what to change.
        StoreUnavailableError: it takes no write now.
    """
    check_trial(keys, (yield Send(trial_commands(keys, seconds))), seconds)


def check_trial(keys: LogKeys, replies: Sequence[Any], seconds: float) -> None:
    """Check the replies to ``trial_commands``.

    Raises:
        ConfigError: the server cannot confirm a write; the message says what to change.
        StoreUnavailableError: it takes no write now.
    """
    written, reply = replies
    accepted(written, keys.trial)  # full, loading, or a replica: an outage like any other
    if isinstance(reply, ReplyError):
        raise ConfigError(_refusal(reply))
    if int(reply[0]) < 1:
        raise ConfigError(
            f"durability fsync: the log's server confirmed no write within {seconds:g} s: its appendfsync is 'no', or "
            "its disk is slower than that; set appendfsync to always or everysec"
        )


def _refusal(reply: ReplyError) -> str:
    return (
        f"durability fsync: the log's server does not run WAITAOF ({reply.text}): it needs appendonly yes, Valkey 7.2 "
        "or newer, and a user that may run WAITAOF; or set NEARHIT_DURABILITY=write"
    )
