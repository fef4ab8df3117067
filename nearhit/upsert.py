"""Upsert: writes entries so that a newer answer is never overwritten by an older one.

Two round trips. First a script takes a short lease on each entry and compares ages; then plain HSET and PEXPIREAT write
those that may be written. The script itself writes nothing that is indexed: valkey-search blocks the whole server while
it indexes what a script or a transaction wrote, while a plain HSET blocks only its own connection (1.2.1).

What stands in an entry's place without being one, a key of another type or a time that is no number, is overwritten:
one such key would otherwise fail its whole batch for ever.
"""

from __future__ import annotations

import secrets
import time
from enum import StrEnum
from typing import TYPE_CHECKING

from nearhit import keys as key_names
from nearhit.engine.local.changes import changed
from nearhit.entry import Entry, prompt_digest
from nearhit.errors import StoreUnavailableError
from nearhit.flow import Flow, ReplyError, Send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow import Command
    from nearhit.keys import CacheKeys

LEASE_MS = 10_000
"""How long a lease lasts on the server."""

WRITE_SECONDS = 5.0
"""How long after it asked for its lease a writer may still begin to write, by its own clock.

A worker that was stopped (SIGSTOP, a paused machine, a long collection) wakes up without knowing it, and another one
may have written a newer answer meanwhile. The half of the lease that is left is for the write itself.
"""

_LEASE = """
local kind = redis.call('TYPE', KEYS[2])['ok']
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[2]) end
local there = tonumber(redis.call('HGET', KEYS[2], 'created') or '')
if there and there > tonumber(ARGV[2]) then return 'stale' end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[3]) then return 'go' end
return 'busy'
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
# a plain DEL would take the lease of the worker that came after this one, and let a third one in beside it


class Stored(StrEnum):
    """What became of an entry that was to be written."""

    STORED = "stored"
    STALE = "stale"
    BUSY = "busy"


def upsert(
    entries: Sequence[Entry], keys: CacheKeys, clock: Callable[[], float] = time.monotonic
) -> Flow[list[Stored]]:
    """Write entries and return what became of each, in order.

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
    results = [Stored.STALE] * len(entries)
    started = clock()
    token = secrets.token_hex(8)
    leases = yield from _lease([(names[at], entries[at]) for at in chosen], token)
    for at, lease in zip(chosen, leases, strict=True):
        results[at] = lease
    go = [at for at in chosen if results[at] is Stored.STORED]
    if go and clock() - started < WRITE_SECONDS:
        yield from _write([(names[at], entries[at]) for at in go], keys, token)
    elif go:
        for at in go:
            results[at] = Stored.BUSY
        yield Send(tuple(_release(names[at], token) for at in go), "upsert")
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


def _lease(wanted: list[tuple[str, Entry]], token: str) -> Flow[list[Stored]]:
    replies = yield Send(
        tuple(
            ("EVAL", _LEASE, 2, key_names.lease(name), name, token, one.created_us, LEASE_MS) for name, one in wanted
        ),
        "upsert",
    )
    _check(replies)
    meanings = {b"go": Stored.STORED, b"stale": Stored.STALE, b"busy": Stored.BUSY}
    return [meanings[reply] for reply in replies]


def _release(name: str, token: str) -> Command:
    return ("EVAL", _RELEASE, 1, key_names.lease(name), token)


def _write(wanted: list[tuple[str, Entry]], keys: CacheKeys, token: str) -> Flow[None]:
    commands: list[Command] = []
    for name, one in wanted:
        flat = [part for pair in keys.fields(one).items() for part in pair]
        commands.append(("HSET", name, *flat))
        commands.append(("PEXPIREAT", name, one.expires_ms))
        commands.append(changed(keys, name))
    # last, and after all: replies come in order, so that a lease is given back only once its entry stands
    commands += [_release(name, token) for name, _ in wanted]
    _check((yield Send(tuple(commands), "upsert")))


def _check(replies: Sequence[object]) -> None:
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise StoreUnavailableError(f"the server refuses to write: {reply.kind}: {reply.text}")
