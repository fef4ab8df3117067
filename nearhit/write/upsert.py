"""Upsert: writes entries so that a newer answer is never overwritten by an older one.

Two round trips. The first takes a short lease on each entry and then reads its age, in this order: whoever holds the
lease reads what nobody else may change now. Then plain HSET and PEXPIREAT write those that may be written. No script:
valkey-search blocks the whole server while it indexes what a script or a transaction wrote, while a plain HSET blocks
only its own connection (1.2.1); and one that only takes the lease costs the server 8 µs, where SET and HGET cost 2.

What stands in an entry's place without being one is overwritten: a key of another type, a time that is no number or
lies ahead. One such key would otherwise fail its whole batch, or keep every later answer out forever. A lease that is
not from here, one without an end, is given the end that a lease has.
"""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain.entry import CREATED, Entry, prompt_digest
from nearhit.domain.outcome import Stored
from nearhit.flow.steps import Flow, ReplyError, Send, accepted
from nearhit.index.local.changes import changed
from nearhit.valkey import key_names, server_scripts
from nearhit.valkey.replies import whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.steps import Command
    from nearhit.valkey.key_names import CacheKeys

LEASE_MS = 10_000
"""How long a lease lasts on the server."""

WRITE_SECONDS = 5.0
"""How long after it asked for its lease a writer may still begin to write, by its own clock.

A worker that was stopped (SIGSTOP, a paused machine, a long collection) wakes up without knowing it, and another one
may have written a newer answer meanwhile. The half of the lease that is left is for the write itself.
"""

AHEAD_US = 300 * 1_000_000
"""How far an entry's time may be ahead of a writer's clock before it counts for nothing. A worker writes no time that
is ahead of its own clock, so that this is how far the clocks of two workers may differ."""


def upsert(
    entries: Sequence[Entry], keys: CacheKeys, clock: Callable[[], float] = time.monotonic
) -> Flow[list[Stored]]:
    """Write entries and return the result for each, in order.

    ``stale``: a newer answer is there, or comes later in the same batch. ``busy``: another worker writes that very
    entry now, or this one was stopped for so long that another may; try again. Doing it twice leaves the same entries.

    Args:
        entries: what to write.
        keys: names of the namespace and embedder.
        clock: monotonic seconds of this machine.

    Raises:
        StoreUnavailableError: the server does not answer, is full, or refuses to write.
    """
    names = [keys.entry(one.scope, prompt_digest(one.prompt)) for one in entries]
    newest: dict[str, int] = {}
    for at, (name, one) in enumerate(zip(names, entries, strict=True)):
        if name not in newest or entries[newest[name]].created_us <= one.created_us:
            newest[name] = at
    chosen = sorted(newest.values())
    started = clock()
    token = secrets.token_hex(8)
    leases = yield from _lease([(names[at], entries[at]) for at in chosen], token)
    results = [Stored.STALE] * len(entries)
    for at, lease in zip(chosen, leases, strict=True):
        results[at] = lease.result
    if clock() - started >= WRITE_SECONDS:
        results = [Stored.BUSY if result is Stored.STORED else result for result in results]
    go = [(lease, entries[at]) for at, lease in zip(chosen, leases, strict=True) if results[at] is Stored.STORED]
    commands: list[Command] = []
    for lease, one in go:
        if lease.foreign:
            commands.append(("UNLINK", lease.name))
        commands.append(("HSET", lease.name, *itertools.chain.from_iterable(keys.fields(one).items())))
        commands += [("PEXPIREAT", lease.name, one.expires_ms), changed(keys, lease.name)]
    # last, and after all: replies come in order, so that a lease is given back only once its entry stands
    commands += [server_scripts.release(key_names.lease(lease.name), token) for lease in leases if lease.held]
    # another one's lease gets an end, where it has none or a later one
    busy = [lease.name for lease in leases if lease.result is Stored.BUSY]
    bounds = [("PEXPIRE", key_names.lease(name), LEASE_MS, "LT") for name in busy]
    if commands or bounds:
        replies = yield Send((*commands, *bounds), "upsert")
        _check(replies[: len(commands)])
    return results


def remove(names: Sequence[str], keys: CacheKeys) -> Flow[int]:
    """Remove entries by key and return how many were there."""
    if not names:
        return 0
    commands: list[Command] = [("UNLINK", name) for name in names]
    commands += [changed(keys, name) for name in names]
    replies = yield Send(tuple(commands), "remove")
    _check(replies)
    return sum(int(reply) for reply in replies[: len(names)])


@dataclass(frozen=True, slots=True)
class _Lease:
    """What was found at an entry's key: the result, whether the lease is ours, and whether another type is there."""

    name: str
    result: Stored
    held: bool
    foreign: bool


def _lease(wanted: list[tuple[str, Entry]], token: str) -> Flow[list[_Lease]]:
    commands: list[Command] = []
    for name, _ in wanted:
        commands.append(("SET", key_names.lease(name), token, "NX", "PX", LEASE_MS))
        commands.append(("HGET", name, CREATED))
    replies = yield Send(tuple(commands), "upsert")
    _check([reply for reply in replies if not _is_foreign(reply)])
    leases = []
    for (name, one), lease, created in zip(wanted, replies[::2], replies[1::2], strict=True):
        there_us = whole(created)  # of the entry that is there; what is no time counts for nothing
        newer = one.created_us < there_us <= max(one.created_us, time.time_ns() // 1000) + AHEAD_US
        result = Stored.STALE if newer else Stored.BUSY if lease is None else Stored.STORED
        leases.append(_Lease(name, result, lease is not None, _is_foreign(created)))
    return leases


def _is_foreign(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and reply.says("WRONGTYPE")


def _check(replies: Sequence[object]) -> None:
    for reply in replies:
        accepted(reply, "the server refuses to write")
