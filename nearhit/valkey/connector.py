"""Connector: makes connections to one server, each within its connect timeout."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import redis
import redis.sentinel
from redis.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as ConnectionLostError
from redis.exceptions import TimeoutError as RedisTimeoutError

from nearhit.resilience.undo import unless_finished
from nearhit.valkey import sentinels
from nearhit.valkey.handshake import REPLICA, Handshake, handshake_of, role_of
from nearhit.valkey.open_connection import OpenConnection
from nearhit.valkey.packed_command import pack
from nearhit.valkey.resolver import Resolver

if TYPE_CHECKING:
    from nearhit.valkey.resolver import Address

CONNECT_SECONDS = 1.0
"""How long a connect may take where a caller's client says nothing."""

_PLAIN_WAYS = (Connection._connect, SSLConnection._connect)  # noqa: SLF001 - a class of the caller's own may differ


class Connector:
    """Makes connections as a pool of redis-py would, but with all of the handshake in one round trip.

    How the socket is made (TLS, keepalive, unix sockets, a caller's own connection class) and who logs in (credential
    providers) are redis-py's; name resolution is bounded. Thread-safe.

    Args:
        pool: says where the server is and what to say to it.
        resolver: finds addresses.

    Attributes:
        seconds: how long a connect may take in all: name, address, TLS and handshake.
    """

    def __init__(self, pool: Any, resolver: Resolver | None = None) -> None:
        self._pool = pool
        self._resolver = resolver or Resolver()
        self._old = False
        options = pool.connection_kwargs
        self.seconds = float(options.get("socket_connect_timeout") or options.get("socket_timeout") or CONNECT_SECONDS)

    def connect(self) -> OpenConnection:
        """Return a connection that is ready to talk.

        Raises:
            redis.RedisError: the server refuses it, or does not answer in time.
            OSError: the name is unknown, or the network has failed.
        """
        connection = self._pool.connection_class(**self._pool.connection_kwargs)
        address = None
        if isinstance(self._pool, redis.sentinel.SentinelConnectionPool):
            address = connection.host, connection.port = self._ask_sentinels()
        end = time.monotonic() + self.seconds
        provider = connection.credential_provider
        credentials = provider.get_credentials() if provider is not None else None
        try:
            sock = self._socket(connection, end)
        except TimeoutError as error:
            raise RedisTimeoutError(f"Timeout connecting to server. {error}") from error
        except OSError as error:
            raise ConnectionLostError(connection._error_message(error)) from error  # noqa: SLF001 - names the server
        made = OpenConnection(sock)
        with unless_finished(made.close):
            self._greet(connection, made, sock, handshake_of(connection, credentials), end)
            if address is not None and made.role == REPLICA:  # the sentinels have not agreed on a new primary yet
                raise ConnectionLostError(
                    f"{address[0]}:{address[1]} is a replica, and the sentinels call it the primary"
                )
        made.address = address
        return made

    def _ask_sentinels(self) -> tuple[str, int]:
        pool = self._pool
        manager = sentinels.for_one_connect(pool.sentinel_manager)
        try:
            found: tuple[str, int] = manager.discover_master(pool.service_name)
            pool.sentinel_manager.sentinels = manager.sentinels  # the one that answered comes first
        except redis.sentinel.MasterNotFoundError as error:
            raise sentinels.unnamed(pool.service_name, error) from error
        finally:  # the next failover may be days away; another connect may be asking now
            for one in manager.sentinels:
                one.connection_pool.disconnect(inuse_connections=False)
        return found

    def _greet(self, connection: Any, made: OpenConnection, sock: socket.socket, first: Handshake, end: float) -> None:
        asked, readonly = _asked_by(connection.redis_connect_func)
        if asked is not None:
            sock.settimeout(max(0.001, end - time.monotonic()))
            connection._sock = sock  # noqa: SLF001 - as redis-py does before it calls the function
            try:
                asked(connection)
            finally:
                connection._sock = None  # noqa: SLF001 - it closes what it holds when it is collected
            return
        handshake: Handshake | None = replace(first, readonly=readonly, protocol=2 if self._old else first.protocol)
        while handshake is not None and (commands := handshake.commands()):
            started = time.monotonic()
            replies = made.talk(pack(commands), len(commands), end)
            made.round_trip_seconds = time.monotonic() - started
            made.role = role_of(replies[0])
            self._old = handshake.protocol == 2 and first.protocol == 3
            handshake = handshake.after(replies)
        made.used = False

    def _socket(self, connection: Any, end: float) -> socket.socket:
        if type(connection)._connect not in _PLAIN_WAYS:  # noqa: SLF001 - a unix socket, or a caller's own class
            connection.socket_connect_timeout = connection.socket_timeout = max(0.001, end - time.monotonic())
            made: socket.socket = connection._connect()  # noqa: SLF001 - connect() would send its own handshake
            return made
        port, family = int(connection.port), connection.socket_type
        found = self._resolver.find(connection.host, port, end - time.monotonic(), family)
        plain = _first_that_answers(connection, found, end)
        if not isinstance(connection, SSLConnection):
            return plain
        with unless_finished(plain.close):
            plain.settimeout(max(0.001, end - time.monotonic()))
            wrapped: socket.socket = connection._wrap_socket_with_ssl(plain)  # noqa: SLF001 - redis-py's options of TLS
        return wrapped


def _first_that_answers(connection: Any, found: list[Address], end: float) -> socket.socket:
    """Return a connection to one of the addresses, each of which gets its share of the time."""
    failure: OSError | None = None
    for place, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            with unless_finished(sock.close):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if connection.socket_keepalive:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    for option, value in (connection.socket_keepalive_options or {}).items():
                        sock.setsockopt(socket.IPPROTO_TCP, option, value)
                sock.settimeout(max(0.001, (end - time.monotonic()) / (len(found) - place)))
                sock.connect(address)
                return sock
        except OSError as error:
            failure = error
    raise failure if failure is not None else OSError("the name has no address")


def _asked_by(function: Any) -> tuple[Any, bool]:
    """Return a caller's own function for new connections, and whether a cluster's client wants to ask replicas.

    redis-py's cluster client always has such a function; without one of the caller's it does what the handshake does.
    """
    owner = getattr(function, "__self__", None)
    if function is None or not isinstance(owner, redis.RedisCluster) or owner.user_on_connect_func is not None:
        return function, False
    return None, bool(owner.read_from_replicas or getattr(owner, "load_balancing_strategy", None))
