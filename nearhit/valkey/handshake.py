"""Handshake: the first commands of a new connection, all in one round trip."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as ConnectionLostError

from nearhit.flow.steps import ReplyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.flow.steps import Command

LOST = frozenset({"AuthenticationError", "BusyLoadingError", "ConnectionError"})
"""Kinds of error replies that are about the connection or the whole server, not about the command."""

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
            if isinstance(reply, ReplyError) and required:
                return self._instead(command, reply)
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

    def _instead(self, command: Command, refusal: ReplyError) -> Handshake:
        unknown = refusal.kind == "NoPermissionError" or any(part in refusal.text for part in _HELLO_REFUSED)
        if command[0] == "HELLO" and unknown:
            return replace(self, protocol=2)
        if command[0] == "AUTH" and len(command) == 3 and refusal.kind == _TOO_MANY_WORDS:
            return replace(self, credentials=self.credentials[1:])  # a server before version 6 knows no users
        raise error_of(refusal)


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


def raise_lost(replies: Sequence[Any]) -> None:
    """Raise where a reply says that the connection, or the whole server, cannot be used now.

    Raises:
        redis.exceptions.AuthenticationError: the server no longer accepts the connection's user.
        redis.exceptions.ConnectionError: it is loading its data, or has too many clients.
    """
    for reply in replies:
        if type(reply) is ReplyError and reply.kind in LOST:
            raise error_of(reply)


def error_of(refusal: ReplyError) -> RedisError:
    """Return an error reply as the exception that redis-py has for it."""
    if refusal.kind == "AuthenticationError":
        return AuthenticationError(refusal.text)
    made = getattr(redis.exceptions, refusal.kind, None)
    if isinstance(made, type) and issubclass(made, ConnectionLostError):
        return made(refusal.text)
    return redis.exceptions.ResponseError(refusal.text)
