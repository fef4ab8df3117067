"""Server scripts: what a server does in one step, each as a function that returns its command.

A script adds to the new place before it takes from the old one, so that a full server (OOM) refuses while the message
is still where it was. Commands are EVAL and not EVALSHA: see docs/decisions.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nearhit.flow.steps import Command, Word
    from nearhit.valkey.key_names import LogKeys


class _Script:
    """Lua in which keys and arguments have names.

    Args:
        keys: names of the keys, separated by spaces.
        arguments: names of the arguments; ``*rest`` at their end is a list of all further ones.
        body: the script.
    """

    def __init__(self, keys: str, arguments: str, body: str) -> None:
        listed, _, rest = arguments.partition("*")
        names = {"KEYS": keys.split(), "ARGV": listed.split()}
        lines = [f"local {name} = {table}[{at}]" for table in names for at, name in enumerate(names[table], 1)]
        if rest:
            first = len(names["ARGV"]) + 1
            lines.append(f"local {rest} = {{}}\nfor at = {first}, #ARGV do {rest}[#{rest} + 1] = ARGV[at] end")
        self._text = "\n".join([*lines, body.strip()])
        self._count = len(names["KEYS"])
        self._names = (*names["KEYS"], *names["ARGV"])

    def __call__(self, *rest: Word, **named: Word) -> Command:
        return ("EVAL", self._text, self._count, *(named[name] for name in self._names), *rest)


# --- leases -----------------------------------------------------------------------------------------------------------

_RELEASE = _Script(
    "lease", "token", "if redis.call('GET', lease) == token then return redis.call('DEL', lease) end return 0"
)
_RENEW = _Script(
    "lease",
    "token life_ms",
    "if redis.call('GET', lease) == token then return redis.call('PEXPIRE', lease, life_ms) end return 0",
)
_REPLACE = _Script(
    "name",
    "before after life_ms",
    """
local there = redis.pcall('GET', name)
if type(there) == 'table' then there = '' end
if there ~= before then return 0 end
redis.call('SET', name, after, 'PX', life_ms)
return 1
""",
)


def release(lease: str, token: Word) -> Command:
    """Give a lease back; replies 0 when it is not, or no longer, that of ``token``.

    A plain DEL would take the lease of whoever came after, and let a third one in beside it.
    """
    return _RELEASE(lease=lease, token=token)


def renew(lease: str, token: Word, life_ms: int) -> Command:
    """Make a lease last for another ``life_ms``; replies 0 when it is not, or no longer, that of ``token``."""
    return _RENEW(lease=lease, token=token, life_ms=life_ms)


def replace(name: str, before: bytes, after: bytes, life_ms: int) -> Command:
    """Put another value in the place of ``before``; replies 0 when something else, or nothing, is there.

    Args:
        name: of the key.
        before: the value that is expected; empty for a key of another type.
        after: the new value.
        life_ms: how long it stands.
    """
    return _REPLACE(name=name, before=before, after=after, life_ms=life_ms)


# --- pointers and tables ----------------------------------------------------------------------------------------------

_MOVE = _Script(
    "pointer",
    "before after",
    """
local there = redis.call('GET', pointer)
if there and there ~= before then return 0 end
redis.call('SET', pointer, after)
return 1
""",
)
_CHANGE_FIELD = _Script(
    "table",
    "field before after most",
    """
local there = redis.call('HGET', table, field) or ''
if there ~= before then return 0 end
if there == '' and redis.call('HLEN', table) >= tonumber(most) then return -1 end
redis.call('HSET', table, field, after)
return 1
""",
)


def move_pointer(pointer: str, before: int, after: int) -> Command:
    """Set a pointer that is at ``before``, or nowhere, to ``after``; replies 0 when it has moved on."""
    return _MOVE(pointer=pointer, before=before, after=after)


def change_field(table: str, field: str, before: bytes, after: bytes, most: int) -> Command:
    """Write a field of a hash unless it was changed meanwhile, so that the second of two writers sees the first's.

    Replies 1 when it is written, 0 when something else is there, -1 when the hash has ``most`` fields already.

    Args:
        table: key of the hash.
        field: of the hash.
        before: the value that is expected; empty for none.
        after: the new value.
        most: fields that the hash may have.
    """
    return _CHANGE_FIELD(table=table, field=field, before=before, after=after, most=most)


# --- logs -------------------------------------------------------------------------------------------------------------

_APPEND_ONCE = _Script(
    "flag log",
    "flag_ms *fields",
    """
if not redis.call('SET', flag, 1, 'NX', 'PX', flag_ms) then return 0 end
redis.call('XADD', log, '*', unpack(fields))
return 1
""",
)
_APPEND_BELOW = _Script(
    "log wake",
    "most wake_ms *fields",
    """
if redis.call('XLEN', log) >= tonumber(most) then return 0 end
redis.call('XADD', log, '*', unpack(fields))
return redis.call('SET', wake, 1, 'NX', 'PX', wake_ms) and 2 or 1
""",
)
_REPLAY = _Script(
    "dead log",
    "id lane now_ms",
    """
local row = redis.call('XRANGE', dead, id, id)[1]
if not row then return 0 end
local fields = {}
for at = 1, #row[2], 2 do fields[row[2][at]] = row[2][at + 1] end
if fields['lane'] ~= lane then return 0 end
redis.call('XADD', log, '*', 'm', fields['m'], 'n', 0, 'q', now_ms)
redis.call('XDEL', dead, id)
return 1
""",
)
_FORGET = _Script(
    "log",
    "group silent_ms",
    """
local gone = 0
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', log, group)) do
  local row = {}
  for at = 1, #flat, 2 do row[flat[at]] = flat[at + 1] end
  if row.pending == 0 and row.idle > tonumber(silent_ms) then
    redis.call('XGROUP', 'DELCONSUMER', log, group, row.name)
    gone = gone + 1
  end
end
return gone
""",
)
_PROMOTE = _Script(
    "waiting log dead late",
    "now_ms count most_bytes most_dead lane",
    """
local looked, bytes, due = 0, 0, {}
repeat
  due = redis.call('ZRANGEBYSCORE', waiting, '-inf', now_ms, 'LIMIT', 0, 16)
  for _, member in ipairs(due) do
    local _, stop, id, tries, queued = string.find(member, '^([^|]*)|(%d+)|(%d+)|')
    if stop then
      local new = redis.call('XADD', log, '*', 'm', string.sub(member, stop + 1), 'n', tries, 'q', queued)
      local since = redis.call('ZSCORE', late, id)
      if since then
        redis.call('ZADD', late, since, new)
        redis.call('ZREM', late, id)
      end
    else
      redis.call('XADD', dead, 'MAXLEN', '~', most_dead, '*', 'm', string.sub(member, 1, 65536), 'n', 0, 'q', now_ms,
        'lane', lane, 'reason', 'undecodable', 'detail', 'what waited for its next try is no fill')
    end
    redis.call('ZREM', waiting, member)
    looked = looked + 1
    bytes = bytes + #member
  end
until #due == 0 or looked >= tonumber(count) or bytes >= tonumber(most_bytes)
if redis.call('XLEN', log) == 0 and redis.call('ZCARD', waiting) == 0 then redis.call('DEL', late) end
return looked
""",
)


def append_once(flag: str, flag_ms: int, log: str, fields: Command) -> Command:
    """Add a message to a log and set a flag for ``flag_ms``; replies 0 while the flag stands."""
    return _APPEND_ONCE(*fields, flag=flag, log=log, flag_ms=flag_ms)


def append_below(log: str, most: int, wake: str, wake_ms: int, fields: Command) -> Command:
    """Add a message to a log of fewer than ``most``; replies 0 when it is full, 2 when the caller wakes workers."""
    return _APPEND_BELOW(*fields, log=log, wake=wake, most=most, wake_ms=wake_ms)


def replay(keys: LogKeys, lane: str, id_: str, now_ms: int) -> Command:
    """Move a dead letter of a lane back into that lane's log; replies 0 when it is not there."""
    return _REPLAY(dead=keys.dead, log=keys.log(lane), id=id_, lane=lane, now_ms=now_ms)


def forget_consumers(log: str, group: str, silent_ms: int) -> Command:
    """Remove consumers that hold nothing and have been silent for ``silent_ms``; replies how many.

    XGROUP DELCONSUMER drops what a consumer holds, so that looking and removing must be one step.
    """
    return _FORGET(log=log, group=group, silent_ms=silent_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What may wait no longer: at which time, and how many messages, bytes and dead letters at most."""

    now_ms: int
    count: int
    most_bytes: int
    most_dead: int


def promote(keys: LogKeys, lane: str, due: Due) -> Command:
    """Put messages whose wait is over back into the log; replies how many.

    Each stays marked as late under its new id; marks that outlived their messages go once the lane is empty.
    What is no fill becomes a dead letter: left where it is, it would block everything that is due later.
    Messages are read a few at a time, since each may be as large as the largest answer.
    """
    return _PROMOTE(
        waiting=keys.retry(lane),
        log=keys.log(lane),
        dead=keys.dead,
        late=keys.late(lane),
        now_ms=due.now_ms,
        count=due.count,
        most_bytes=due.most_bytes,
        most_dead=due.most_dead,
        lane=lane,
    )


# --- messages that a consumer holds -----------------------------------------------------------------------------------

_MINE = """
local function mine(id)
  local row = redis.call('XPENDING', log, group, id, id, 1)[1]
  return row and row[2] == consumer
end
"""
_TAKE_OUT = """
redis.call('XACK', log, group, id)
redis.call('XDEL', log, id)
return 1
"""
_KEEP = _Script(
    "log",
    "group consumer *ids",
    _MINE
    + """
local kept = 0
for _, id in ipairs(ids) do
  if mine(id) then
    redis.call('XCLAIM', log, group, consumer, 0, id, 'JUSTID')
    kept = kept + 1
  end
end
return kept
""",
)
_DEAD_LETTER = _Script(
    "log late dead",
    "group consumer id most *letter",
    _MINE + "if not mine(id) then return 0 end\n"
    "redis.call('XADD', dead, 'MAXLEN', '~', most, '*', unpack(letter))\n"
    "redis.call('ZREM', late, id)" + _TAKE_OUT,
)
_EXCHANGE = _Script(
    "log late kept",
    "group consumer id most life_ms *fields",
    _MINE + "if not mine(id) then return 0 end\n"
    "redis.call('XADD', kept, 'MAXLEN', '~', most, '*', unpack(fields))\n"
    "redis.call('PEXPIRE', kept, life_ms)\n"
    "redis.call('ZREM', late, id)" + _TAKE_OUT,
)
_RETRY_LATER = _Script(
    "log late waiting",
    "group consumer id since_ms due_ms member",
    _MINE + "if not mine(id) then return 0 end\n"
    "redis.call('ZADD', waiting, due_ms, member)\n"
    "redis.call('ZADD', late, since_ms, id)" + _TAKE_OUT,
)


@dataclass(frozen=True, slots=True)
class Held:
    """A message of a log that a consumer of a group holds.

    Each script about it replies 0 and does nothing when another consumer has taken the message over: a worker that was
    stopped for long must not move it.
    """

    log: str
    late: str
    group: str
    consumer: str
    id: bytes

    @property
    def names(self) -> dict[str, Word]:
        """The same as arguments of a script."""
        return asdict(self)


def keep(log: str, group: str, consumer: str, ids: Iterable[bytes]) -> Command:
    """Say that messages are still in progress, so that no other consumer claims them; replies how many still are."""
    return _KEEP(*ids, log=log, group=group, consumer=consumer)


def dead_letter(held: Held, dead: str, most: int, letter: Command) -> Command:
    """Move a message to the dead-letter log, which keeps about ``most`` letters."""
    return _DEAD_LETTER(*letter, **held.names, dead=dead, most=most)


def exchange(held: Held, kept: str, most: int, life_ms: int, fields: Command) -> Command:
    """Take a message out of its log and add what it gave to the stream ``kept``, of about ``most``, for ``life_ms``."""
    return _EXCHANGE(*fields, **held.names, kept=kept, most=most, life_ms=life_ms)


def retry_later(held: Held, waiting: str, since_ms: int, due_ms: int, member: bytes) -> Command:
    """Move a message to the sorted set of those that wait for their next try, and mark it as late.

    Args:
        held: which one.
        waiting: the sorted set.
        since_ms: when it was accepted, for the mark.
        due_ms: when its wait is over.
        member: the message.
    """
    return _RETRY_LATER(**held.names, waiting=waiting, since_ms=since_ms, due_ms=due_ms, member=member)
