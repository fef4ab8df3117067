"""Rights: what the user of each role has to be allowed on each server (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearhit.flow.steps import ReplyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from nearhit.flow.steps import Command

APPLICATION, WORKER, MONITOR = "application", "worker", "monitor"
CACHE, SEARCH, LOG, BROKER = "cache server", "search module", "log's server", "broker"

NEVER_RUN = "NEARHIT.NOTHING"
"""No command: a transaction that was given it runs nothing of what it was given."""

_CONTAINERS = frozenset({"CLIENT", "COMMAND", "CONFIG", "LATENCY", "SLOWLOG", "XGROUP", "XINFO", "SCRIPT"})
_TRANSACTION = ("MULTI", "EXEC")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one role needs on one server.

    Attributes:
        server: which.
        role: whose user.
        keys: patterns of keys.
        commands: a sample of each command, with as many words as the server wants to see before it looks at rights;
            ``key`` stands for a key.
    """

    server: str
    role: str
    keys: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the rules of an ACL, as they are written."""
        return (*(f"~{one}" for one in self.keys), *map(rule_of, self.commands))

    @property
    def line(self) -> str:
        """Return the command that gives these rights to a user, besides those that it has."""
        return f"ACL SETUSER nearhit-{self.role} on >PASSWORD {' '.join(self.rules)}"


_ANY = ("PING", "SELECT 0", "CLIENT SETNAME x", "CLIENT SETINFO LIB-NAME x", "INFO")
_STEP = (*_TRANSACTION, "EVAL x 0")
_CACHE = (
    *("COMMAND INFO x", "DBSIZE", "TIME", "SCAN 0"),
    *("HGET key f", "HMGET key f", "HGETALL key", "HSETNX key f v", "HDEL key f"),
    *("GET key", "SET key v", "EXISTS key", "EXPIRE key 1", "UNLINK key"),
    *("XADD key * f v", "XREAD STREAMS key 0", "XINFO STREAM key"),
)
_SEARCH = ("FT.CREATE", "FT.SEARCH", "FT.INFO", "FT._LIST")
_LOG = (
    *("XADD key * f v", "XLEN key", "WAITAOF 0 0 0"),
    *("GET key", "SET key v", "EXISTS key", "DEL key", "PEXPIRE key 1", "HGETALL key"),
)
_WORKING_LOG = (
    *("XGROUP CREATE key g 0", "XGROUP DELCONSUMER key g c", "XREADGROUP GROUP g c STREAMS key 0"),
    *("XACK key g 0", "XCLAIM key g c 0 0", "XDEL key 0", "XPENDING key g", "XRANGE key 0 0"),
    *("XINFO STREAM key", "XINFO GROUPS key", "XINFO CONSUMERS key g"),
    *("ZADD key 0 m", "ZREM key m", "ZCARD key", "ZSCORE key m", "ZRANGE key 0 0", "ZRANGEBYSCORE key 0 0"),
    *("HGET key f", "HSET key f v", "HDEL key f", "HLEN key", "INCRBY key 1", "SCAN 0", "UNLINK key", "CONFIG GET x"),
)
_QUEUES = ("nearhit-*", "_kombu.binding*.nearhit-*")
_PUBLISHING = ("LPUSH key v", "LLEN key", "SADD key m", "SMEMBERS key")
_CONSUMING = (
    *("BRPOP key 0", "ZADD key 0 m", "ZREM key m", "ZRANGE key 0 0", "HGET key f", "HSET key f v", "HDEL key f"),
    *("GET key", "SET key v", "DEL key", "WATCH key", "UNWATCH", "EVALSHA x 0", "SCRIPT LOAD x"),
)
_WATCHING = ("CONFIG GET x", "SLOWLOG GET", "SLOWLOG LEN", "LATENCY LATEST", "LATENCY HISTOGRAM", "CLIENT LIST")
_OURS = ("nearhit:*",)

_SCALING = ("TYPE key", "LLEN key", "EVAL x 0")  # KEDA asks for a length by a script
_STREAMS = ("XINFO STREAM key", "XINFO GROUPS key", "XINFO CONSUMERS key g", "XLEN key", "ZCARD key", *_SCALING)
_WRITING = ("HSET key f v", "DEL key", "PEXPIRE key 1", "PEXPIREAT key 1", "RANDOMKEY", "HVALS key")

RECIPES = (
    Recipe(CACHE, APPLICATION, _OURS, (*_ANY, *_STEP, *_CACHE)),
    Recipe(CACHE, WORKER, _OURS, (*_ANY, *_STEP, *_CACHE, *_WRITING)),
    Recipe(CACHE, MONITOR, (), (*_ANY, *_WATCHING)),
    Recipe(SEARCH, APPLICATION, (), _SEARCH),
    Recipe(SEARCH, WORKER, (), (*_SEARCH, "FT.DROPINDEX")),
    Recipe(LOG, APPLICATION, _OURS, (*_ANY, *_STEP, *_LOG)),
    Recipe(LOG, WORKER, _OURS, (*_ANY, *_STEP, *_LOG, *_WORKING_LOG)),
    Recipe(LOG, MONITOR, _OURS, (*_ANY, *_WATCHING, *_STREAMS)),
    Recipe(BROKER, APPLICATION, _QUEUES, (*_ANY, *_TRANSACTION, *_PUBLISHING)),
    Recipe(BROKER, WORKER, (*_QUEUES, "unacked*"), (*_ANY, *_TRANSACTION, *_PUBLISHING, *_CONSUMING)),
    Recipe(BROKER, MONITOR, (), (*_ANY, *_WATCHING)),
)
"""Every right that anybody needs; docs/operations.md shows them, and a test gives them to users and uses each."""


def rule_of(sample: str) -> str:
    """Return the rule that allows a command.

    >>> rule_of("HGET key f"), rule_of("XINFO STREAM key")
    ('+hget', '+xinfo|stream')
    """
    name, *rest = sample.split()
    return f"+{name}|{rest[0]}".lower() if name in _CONTAINERS else f"+{name}".lower()


def recipe(server: str, role: str) -> Recipe:
    """Return what a role needs on a server."""
    return next(one for one in RECIPES if (one.server, one.role) == (server, role))


def page() -> str:
    """Return all recipes as commands, by server and role; docs/operations.md holds them."""
    blocks = [f"# {one.server}, {one.role}\n{one.line}" for one in RECIPES]
    return "\n\n".join(blocks)


def trial(samples: Iterable[str], keys: Sequence[str]) -> tuple[Command, ...]:
    """Return commands in whose replies ``missing`` finds rights that the user lacks; the server runs none of them.

    A server checks rights when it queues a command of a transaction, and runs no transaction in which a command was
    refused: ``NEVER_RUN`` is, in each.
    """
    wanted = [one for one in samples if one not in _TRANSACTION]
    tried = dict.fromkeys(one.replace("key", key) for key in keys or ("key",) for one in wanted)
    return (("MULTI",), (NEVER_RUN,), *(tuple(one.split(" ")) for one in tried), ("EXEC",))


def missing(commands: Sequence[Command], replies: Sequence[Any], patterns: Mapping[str, str]) -> list[str]:
    """Return the rules that a user lacks, from the replies to ``trial``.

    Args:
        commands: what was sent.
        replies: error replies as ``ReplyError``.
        patterns: the pattern that each key of the trial stands for.
    """
    found: dict[str, None] = {}
    for command, reply in zip(commands, replies, strict=True):
        if not isinstance(reply, ReplyError) or "permission" not in f"{reply.kind} {reply.text}".lower():
            continue
        if "access" in reply.text:  # "No permissions to access a key"
            found |= {f"~{patterns[one]}": None for one in map(str, command[1:]) if one in patterns}
        else:
            found[rule_of(" ".join(map(str, command)))] = None
    return list(found)
