"""Handshake: the first commands of a new connection, all in one round trip."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisError

from nearhit.flow.steps import ReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.steps import Command

_LOST = {
    "AuthenticationError": "authentication",
    "BusyLoadingError": "loading",
    "ConnectionError": "refused",
    "MasterDownError": "primary_down",
    "ReadOnlyError": "read_only",
}
"""Kinds of error replies that are about the connection or the whole server, not about the command."""

UNBLOCKED, ROLE = "unblocked", "role"
RECONNECT_REASONS = (*_LOST.values(), UNBLOCKED, ROLE)
"""Why a connection is given up that works: behind the same address there may be another server by now."""

REPLICA = "replica"

ROLE_SECONDS = 2.0
"""How long a server is trusted to be the primary, or the replica, that it was. A failover behind a stable address may
leave old connections open, and who only reads would never learn of it."""

WHO: Command = ("HELLO",)
"""Asks for the role; unlike ROLE and INFO, every user may send it."""

_HELLO_REFUSED = ("unknown command", "NOPROTO", "syntax error", "wrong number of arguments")
_TOO_MANY_WORDS = "AuthenticationWrongNumberOfArgsError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What a connection says before its first command.

    redis-py waits for the answer to each of these commands before it sends the next one: five round trips in 8.1, half
    a second where one takes 100 ms.

    >>> Handshake(protocol=3, credentials=("reader", "secret"), db=1).commands()
    [('HELLO', 3, 'AUTH', 'reader', 'secret'), ('SELECT', 1)]

    Attributes:
        protocol: 3 asks for RESP3 by ``HELLO``; a server that refuses it is talked to in RESP2.
        credentials: nothing, a password, or a user and a password.
        db: database number.
        client_name: for the server's list of clients; empty sends none.
        library: the same.
        library_version: the same.
        readonly: tell a replica of a cluster that it may answer.
    """

    protocol: int = 3
    credentials: tuple[str, ...] = field(default=(), repr=False)
    db: int = 0
    client_name: str = ""
    library: str = ""
    library_version: str = ""
    readonly: bool = False

    def commands(self) -> list[Command]:
        """Return the commands, in order."""
        return [command for command, _ in self._lines()]

    def after(self, replies: Sequence[Any]) -> Handshake | None:
        """Return ``None`` where the connection is ready, else what to say next on it: the server is an older one.

        Args:
            replies: to ``commands``, in order; error replies as ``ReplyError``.

        Raises:
            redis.exceptions.AuthenticationError: the server refuses the user or the password.
            redis.exceptions.RedisError: the server refuses the connection or the database.
        """
        for (command, required), reply in zip(self._lines(), replies, strict=True):
            if not isinstance(reply, ReplyError) or not required:
                continue
            unknown = reply.kind == "NoPermissionError" or any(part in reply.text for part in _HELLO_REFUSED)
            if command[0] == "HELLO" and unknown:
                return replace(self, protocol=2)
            if command[0] == "AUTH" and len(command) == 3 and reply.kind == _TOO_MANY_WORDS:
                return replace(self, credentials=self.credentials[1:])  # a server before version 6 knows no users
            raise error_of(reply)
        return None

    def _lines(self) -> list[tuple[Command, bool]]:
        """Return each command, and whether the connection is of no use where it is refused."""
        lines: list[tuple[Command, bool]] = []
        if self.protocol == 3:
            user = self.credentials if len(self.credentials) != 1 else ("default", *self.credentials)
            lines.append((("HELLO", 3, "AUTH", *user) if user else ("HELLO", 3), True))
        elif self.credentials:
            lines.append((("AUTH", *self.credentials), True))
        if self.client_name:
            lines.append((("CLIENT", "SETNAME", self.client_name), False))
        if self.library:
            lines.append((("CLIENT", "SETINFO", "LIB-NAME", self.library), False))
        if self.library_version:
            lines.append((("CLIENT", "SETINFO", "LIB-VER", self.library_version), False))
        if self.db:
            lines.append((("SELECT", self.db), True))
        if self.readonly:
            lines.append((("READONLY",), True))
        return lines


def handshake_of(connection: Any, credentials: Sequence[str] | None = None) -> Handshake:
    """Return the handshake of a connection that redis-py has made, for threads or asyncio, and not connected.

    Args:
        connection: says protocol, database, names.
        credentials: what a credential provider gave; ``None`` takes the connection's own user and password.
    """
    driver = getattr(connection, "driver_info", None)  # since redis-py 7
    library = driver.formatted_name if driver is not None else getattr(connection, "lib_name", "")
    version = driver.lib_version if driver is not None else getattr(connection, "lib_version", "")
    if credentials is None:
        known = (connection.username or "", connection.password or "")
        credentials = known if known[0] else known[1:] if known[1] else ()
    return Handshake(
        protocol=3 if int(connection.protocol) == 3 else 2,
        credentials=tuple(credentials),
        db=int(connection.db or 0),
        client_name=connection.client_name or "",
        library=library or "",
        library_version=version or "",
    )


def unheard(reason: str) -> None:
    """Count no lost connection: nobody looks at the metrics of who connects."""


def role_of(reply: Any) -> str:
    """Return the role in an answer to HELLO: ``master`` or ``replica``; empty where it does not say, as in RESP2."""
    role = reply.get(b"role") if isinstance(reply, dict) else None
    return role.decode(errors="replace") if isinstance(role, bytes) else ""


def why_lost(reply: Any) -> str:
    """Return why a reply says that the connection, or the whole server, cannot be used now; empty where it does not."""
    if type(reply) is not ReplyError:
        return ""
    return UNBLOCKED if reply.text.startswith("UNBLOCKED") else _LOST.get(reply.kind, "")


def raise_lost(replies: Sequence[Any], lost: Callable[[str], None]) -> None:
    """Raise where a reply says that the connection, or the whole server, cannot be used now.

    Args:
        replies: to the caller's commands.
        lost: is told why, one of ``RECONNECT_REASONS``.

    Raises:
        redis.exceptions.RedisError: it is loading its data, has become a replica, or no longer accepts the user.
    """
    for reply in replies:
        if reason := why_lost(reply):
            lost(reason)
            raise error_of(reply)


def error_of(refusal: ReplyError) -> RedisError:
    """Return an error reply as the exception that redis-py has for it."""
    made = getattr(redis.exceptions, refusal.kind, None)
    if isinstance(made, type) and issubclass(made, RedisError):
        return made(refusal.text)
    return redis.exceptions.ResponseError(refusal.text)
