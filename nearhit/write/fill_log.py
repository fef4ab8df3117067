"""Fill log: a Valkey Stream with a consumer group that keeps a fill until it is stored or given up.

Layout on the log's server, for one namespace: a stream for each lane, a sorted set of fills that wait for their next
try, one of the ids of those that failed and are not done, by age, and one dead-letter stream. An entry of a log has the
fields ``m`` (the message), ``n`` (tries so far) and ``q`` (milliseconds since the epoch when ``fill`` accepted it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nearhit.domain.fill_message import FIELD
from nearhit.flow.steps import Flow, ReplyError, Send, accepted, ask
from nearhit.valkey import server_scripts
from nearhit.valkey.durability import CONFIRM_SECONDS, confirmed
from nearhit.valkey.packed_command import CommandTemplate
from nearhit.valkey.replies import first_stream, mapping, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.flow.runner import Runner
    from nearhit.flow.steps import Command
    from nearhit.valkey.key_names import LogKeys

GROUP = "nearhit"
TRIES = b"n"
QUEUED = b"q"
WAKE_MS = 1_000
"""How long one wake-up stands for all fills that come after it, should its worker never take the flag away."""

MAX_DEAD = 100_000
"""Dead letters kept; the oldest go first, and ``nearhit_dead_letters_total`` has counted them."""

MAX_UNREADABLE_BYTES = 65_536
"""How much of a message that is no fill its dead letter keeps: its beginning tells the sender, and none is replayed."""

_PROMOTED_BYTES = 64 * 1024 * 1024
"""How much goes from the waiting ones to the log in one step, so that the server stands still for no longer."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A fill as it lies in a log.

    Attributes:
        id: id of the log entry.
        blob: the message, undecoded.
        tries: failed tries so far.
        queued_ms: when ``fill`` accepted it, milliseconds since the epoch.
        deliveries: how often it was handed to a worker.
        owner: the consumer that has it in progress.
    """

    id: bytes
    blob: bytes
    tries: int
    queued_ms: int
    deliveries: int = 1
    owner: str = ""

    @property
    def added_us(self) -> int:
        """When it was added to the log, by the clock of the log's server, microseconds since the epoch."""
        return int(self.id.partition(b"-")[0]) * 1000


@dataclass(frozen=True, slots=True)
class Silent:
    """A fill whose worker has been silent for too long: its id, and how often it was delivered."""

    id: bytes
    deliveries: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a message that is done: in which stream, its fields, how many there are, and for how long."""

    stream: str
    fields: Command
    most: int
    life_ms: int


@dataclass(frozen=True, slots=True)
class Depth:
    """How full a lane is.

    Attributes:
        fills: all that are neither stored nor given up, those that wait for a next try included.
        pending: those in progress.
        retrying: those that wait for a next try.
        oldest_ms: when the oldest of all was accepted, however often it was tried since; ``None`` without any.
    """

    fills: int
    pending: int
    retrying: int
    oldest_ms: int | None


def append(keys: LogKeys, lane: str, blob: bytes, queued_ms: int) -> tuple[Command, Command]:
    """Return the commands that add a fill and claim the wake-up; the second's reply is OK for the one to wake."""
    return (
        _APPEND.fill(keys.log(lane).encode(), blob, b"%d" % queued_ms),
        _WAKE.fill(keys.wake(lane).encode()),
    )


_APPEND = CommandTemplate("XADD", None, "*", FIELD, None, TRIES, 0, QUEUED, None)
_WAKE = CommandTemplate("SET", None, 1, "NX", "PX", WAKE_MS)


def open_log(keys: LogKeys, lane: str) -> Flow[None]:
    """Make the lane's stream and group where they are not there yet."""
    reply = yield from ask(("XGROUP", "CREATE", keys.log(lane), GROUP, "0", "MKSTREAM"))
    if not (isinstance(reply, ReplyError) and reply.says("BUSYGROUP")):
        accepted(reply, keys.log(lane))


def read(keys: LogKeys, lane: str, consumer: str, count: int, *, last: bool) -> Flow[list[Logged]]:
    """Return up to ``count`` fills that no worker has.

    Args:
        keys: names of the log.
        lane: which one.
        consumer: who reads.
        count: how many at most; 0 only takes the flag away.
        last: no read follows before the batch is worked on. The wake-up flag is then taken away first, so that a fill
            which comes after this read sends a wake-up of its own. While it stands, fills are read without one.
    """
    log = keys.log(lane)
    command: Command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", log, ">")
    flag: tuple[Command, ...] = (("DEL", keys.wake(lane)),) if last else ()
    if not count:
        yield Send(flag)
        return []
    commands: tuple[Command, ...] = (*flag, command)
    reply = (yield Send(commands))[-1]
    if _no_group(reply):
        yield from open_log(keys, lane)  # the log's server came back empty
        reply = yield from ask(command)
    return _rows(first_stream(accepted(reply, log)), consumer)


def silent(keys: LogKeys, lane: str, idle_ms: int, count: int) -> Flow[list[Silent]]:
    """Return up to ``count`` fills whose worker has been silent for ``idle_ms``; they stay where they are."""
    log = keys.log(lane)
    reply = yield from ask(("XPENDING", log, GROUP, "IDLE", idle_ms, "-", "+", count))
    if _no_group(reply):
        return []
    return [Silent(row[0], int(row[3])) for row in accepted(reply, log)]


def claim(keys: LogKeys, lane: str, consumer: str, idle_ms: int, wanted: Sequence[Silent]) -> Flow[list[Logged]]:
    """Take silent fills over and return those that no other worker took first; each counts one delivery more."""
    log = keys.log(lane)
    reply = yield from ask(("XCLAIM", log, GROUP, consumer, idle_ms, *(one.id for one in wanted)))
    if _no_group(reply):
        return []
    before = {one.id: one.deliveries for one in wanted}
    return [replace(row, deliveries=before.get(row.id, 0) + 1) for row in _rows(accepted(reply, log), consumer)]


def keep(keys: LogKeys, lane: str, consumer: str, rows: Sequence[Logged]) -> Flow[int]:
    """Say that fills are still in progress, so that no other worker claims them; return how many are still ours."""
    if not rows:
        return 0
    reply = yield from ask(server_scripts.keep(keys.log(lane), GROUP, consumer, [row.id for row in rows]))
    return 0 if isinstance(reply, ReplyError) else int(reply)


def ack(keys: LogKeys, lane: str, rows: Sequence[Logged]) -> Flow[None]:
    """Take fills out of the log: they are stored."""
    if rows:
        ids = tuple(row.id for row in rows)
        log = keys.log(lane)
        yield from _transaction((("XACK", log, GROUP, *ids), ("XDEL", log, *ids), ("ZREM", keys.late(lane), *ids)))


def expire(keys: LogKeys, lane: str, rows: Sequence[Logged]) -> Flow[None]:
    """Take fills out of the log whose time to live ended there, and count them; no answer of them is kept."""
    if rows:
        yield from ack(keys, lane, rows)
        yield from ask(("INCRBY", keys.expired, len(rows)))


def exchange(keys: LogKeys, lane: str, row: Logged, kept: Kept) -> Flow[int]:
    """Take a message out of the log and keep what it gave, in one step; return 0 when another worker has taken it."""
    command = server_scripts.exchange(_held(keys, lane, row), kept.stream, kept.most, kept.life_ms, kept.fields)
    return (yield from _moved([command], kept.stream))


def retry_later(keys: LogKeys, lane: str, waits: Sequence[tuple[Logged, int, int]]) -> Flow[int]:
    """Let fills wait for their next try; each is never out of both places.

    Args:
        keys: names of the log.
        lane: where they are.
        waits: a fill, until when it waits in milliseconds since the epoch, and its tries from now on.

    Returns:
        How many wait now; the others were taken over by another worker.
    """
    commands: list[Command] = []
    for row, due_ms, tries in waits:
        # no msgpack here: the server's reader of it, which takes the fill out again, knows no binary strings
        blob = b"%b|%d|%d|%b" % (row.id, tries, row.queued_ms, row.blob)
        since_ms = row.queued_ms or row.added_us // 1000
        commands.append(server_scripts.retry_later(_held(keys, lane, row), keys.retry(lane), since_ms, due_ms, blob))
    return (yield from _moved(commands, keys.retry(lane)))


def dead_letter(keys: LogKeys, lane: str, row: Logged, reason: str, detail: str) -> Flow[int]:
    """Move a fill to the dead-letter log with its reason; return 0 when another worker has taken it over."""
    letter = (*_fields(row.blob, row.tries, row.queued_ms), *_reason(lane, reason, detail))
    command = server_scripts.dead_letter(_held(keys, lane, row), keys.dead, MAX_DEAD, letter)
    return (yield from _moved([command], keys.dead))


def accept(keys: LogKeys, lane: str, blobs: Sequence[bytes], queued_ms: int) -> Flow[None]:
    """Add fills to a lane, all or none.

    Raises:
        StoreUnavailableError: the log's server does not take them.
    """
    yield from take_in(keys, [(lane, blob) for blob in blobs], (), queued_ms)


def take_in(
    keys: LogKeys, fills: Sequence[tuple[str, bytes]], refused: Sequence[tuple[bytes, str, str]], queued_ms: int
) -> Flow[None]:
    """Add fills to their lanes and write dead letters for what can never be one, all or nothing.

    Args:
        keys: names of the log.
        fills: lane and message of each.
        refused: what came, reason and detail of each.
        queued_ms: now, milliseconds since the epoch.

    Raises:
        StoreUnavailableError: the log's server does not take them.
    """
    commands: list[Command] = [("XADD", keys.log(lane), "*", *_fields(blob, 0, queued_ms)) for lane, blob in fills]
    for blob, reason, detail in refused:
        letter = (*_fields(blob, 0, queued_ms), *_reason("interactive", reason, detail))
        commands.append(("XADD", keys.dead, "MAXLEN", "~", MAX_DEAD, "*", *letter))
    if commands:
        yield from _transaction(tuple(commands))


def write(runner: Runner, flow: Flow[None], seconds: float, *, confirm: bool) -> None:
    """Run a flow that adds to the log; with ``confirm``, wait until the server's disk has what it added.

    Raises:
        StoreUnavailableError: the server does not answer within ``seconds``, or does not confirm in time.
        ConfigError: it cannot confirm.
    """
    if confirm:
        runner.run(confirmed(flow), 2 * CONFIRM_SECONDS)
    else:
        runner.run(flow, seconds)


def promote(keys: LogKeys, lane: str, now_ms: int, count: int) -> Flow[int]:
    """Put fills whose wait is over back into the log; what is no fill becomes a dead letter.

    Args:
        keys: names of the log.
        lane: which one.
        now_ms: now, milliseconds since the epoch.
        count: how many at most, or a few more; fewer where they are large.

    Returns:
        How many went back.

    Raises:
        StoreUnavailableError: the log's server does not answer, or refuses.
    """
    due = server_scripts.Due(now_ms=now_ms, count=count, most_bytes=_PROMOTED_BYTES, most_dead=MAX_DEAD)
    return int(accepted((yield from ask(server_scripts.promote(keys, lane, due))), keys.retry(lane)))


def depth(keys: LogKeys, lane: str) -> Flow[Depth]:
    """Return how full a lane is."""
    log = keys.log(lane)
    commands = (
        ("XLEN", log),
        ("XPENDING", log, GROUP),
        ("ZCARD", keys.retry(lane)),
        ("XRANGE", log, "-", "+", "COUNT", 1),
        ("ZRANGE", keys.late(lane), 0, 0, "WITHSCORES"),
    )
    length, pending, retrying, oldest, late = yield Send(commands)
    waiting = retrying if isinstance(retrying, int) else 0
    fills = waiting + (length if isinstance(length, int) else 0)
    since = [int(row[0].split(b"-")[0]) for row in oldest] if isinstance(oldest, list) else []
    if isinstance(late, list) and late:
        since.append(int(float(late[0][1] if isinstance(late[0], list) else late[1])))  # RESP3 sends pairs
    return Depth(
        fills=fills,
        pending=int(pending[0]) if isinstance(pending, list) and pending else 0,
        retrying=waiting,
        oldest_ms=min(since) if fills and since else None,
    )


def _held(keys: LogKeys, lane: str, row: Logged) -> server_scripts.Held:
    return server_scripts.Held(keys.log(lane), keys.late(lane), GROUP, row.owner, row.id)


def _fields(blob: bytes, tries: int, queued_ms: int) -> Command:
    return (FIELD, blob, TRIES, tries, QUEUED, queued_ms)


def _reason(lane: str, reason: str, detail: str) -> Command:
    return ("lane", lane, "reason", reason, "detail", detail[:500])


def _moved(commands: Sequence[Command], name: str) -> Flow[int]:
    replies = (yield Send(tuple(commands))) if commands else []
    return sum(int(accepted(reply, name)) for reply in replies)


def _transaction(commands: tuple[Command, ...]) -> Flow[None]:
    replies = yield Send((("MULTI",), *commands, ("EXEC",)))
    last = ReplyError("EXEC gave nothing") if replies[-1] is None else replies[-1]
    for one in accepted(last, str(commands[0][1])):
        accepted(one, str(commands[0][1]))  # EXEC itself went well, but a command in it did not


def _rows(entries: list[Any], owner: str) -> list[Logged]:
    rows = []
    for one in entries:
        if not one or not one[1]:
            continue  # deleted while it was pending
        fields = mapping(one[1])  # a count that is none is 0: the worker dead-letters such an entry's message anyway
        blob, tries, queued_ms = fields.get(FIELD, b""), whole(fields.get(TRIES)), whole(fields.get(QUEUED))
        rows.append(Logged(one[0], blob, tries, queued_ms, owner=owner))
    return rows


def _no_group(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and reply.says("NOGROUP")
