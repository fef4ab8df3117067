"""Cluster: sends commands to the nodes that have their keys, each node's in one round trip and all nodes at once.

redis-py's cluster clients know the nodes and the slots; the talking is done here, since their ``execute_command`` has
neither a deadline for one call nor error replies as values. FT.* asks any node: valkey-search's coordinator searches
all shards. SCAN walks one node after the other behind one cursor. A transaction, from MULTI to EXEC, goes to one node.
"""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import RedisError

from nearhit.errors import BusyError, StoreUnavailableError
from nearhit.flow.steps import ReplyError
from nearhit.resilience.background import start_thread
from nearhit.resilience.per_process import PerProcess
from nearhit.valkey.cluster_client import ClusterClient
from nearhit.valkey.connection_pool import ConnectionPool
from nearhit.valkey.connector import Connector
from nearhit.valkey.handshake import raise_lost
from nearhit.valkey.packed_command import pack
from nearhit.valkey.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis.asyncio

    from nearhit.flow.steps import Command
    from nearhit.valkey.open_connection import OpenConnection

_KEYLESS = frozenset({"INFO", "COMMAND", "SCAN", "PING", "TIME", "WAITAOF"})
_KEY_PLACES = {"EVAL": 3, "XGROUP": 2, "XINFO": 2}
_AGAIN = frozenset({"ClusterDownError", "TryAgainError", "MasterDownError"})
_MOVED, _ASK = "MovedError", "AskError"

_MOST_NODES = 1_024
"""More primaries than a cluster should ever have; a cursor of SCAN holds the node in its remainder by this."""


@dataclass(frozen=True, slots=True)
class NodeCommands:
    """What one node is asked: positions in the caller's commands, and the commands as the node takes them."""

    node: Any
    places: list[int]
    commands: list[Command]


def shares(client: Any, commands: Sequence[Command], turn: int) -> list[NodeCommands]:
    """Return who is asked what.

    Args:
        client: of redis-py, for threads or asyncio; connected.
        commands: all of one round trip.
        turn: which node takes the commands that have no key: all of them the same one.
    """
    primaries = sorted(client.get_primaries(), key=lambda node: str(node.name))
    if not primaries:
        raise StoreUnavailableError("the cluster has no primary")
    found: dict[str, NodeCommands] = {}
    for unit in _units(commands):
        first = commands[unit[0]]
        key = next((key for key in (key_of(commands[place]) for place in unit) if key is not None), None)
        sent = [commands[place] for place in unit]
        if key is not None:
            node = client.nodes_manager.get_node_from_slot(client.keyslot(key))
        elif first[0] == "SCAN":
            cursor, at = divmod(int(first[1]), _MOST_NODES)
            node = primaries[min(at, len(primaries) - 1)]
            sent = [("SCAN", cursor, *first[2:])]
        else:
            node = primaries[turn % len(primaries)]
        share = found.setdefault(str(node.name), NodeCommands(node, [], []))
        share.places.extend(unit)
        share.commands.extend(sent)
    return list(found.values())


def _units(commands: Sequence[Command]) -> list[list[int]]:
    """Return the positions of what goes to one node together: a command, a transaction, what WAITAOF waits for."""
    units: list[list[int]] = []
    inside = False
    for place, command in enumerate(commands):
        if inside:
            units[-1].append(place)
        elif command[0] == "WAITAOF":  # it waits for what its own connection wrote, so all of it goes to one node
            units = [[*itertools.chain(*units), place]]
        else:
            units.append([place])
        inside = command[0] == "MULTI" or (inside and command[0] != "EXEC")
    return units


def key_of(command: Command) -> str | bytes | None:
    """Return the key that says where a command goes; ``None`` for one that any node can answer."""
    name = str(command[0])
    if len(command) == 1 or name in _KEYLESS or name.startswith("FT."):
        return None
    place = command.index("STREAMS") + 1 if name == "XREADGROUP" else _KEY_PLACES.get(name, 1)
    key = command[place]
    return key if isinstance(key, str | bytes) else str(key)


def collect(
    commands: Sequence[Command], asked: Sequence[NodeCommands], answers: Sequence[list[Any]], nodes: int
) -> list[Any]:
    """Return the replies in the order of the commands, with cursors that go on from node to node."""
    replies: list[Any] = [None] * len(commands)
    for share, answer in zip(asked, answers, strict=True):
        for place, reply in zip(share.places, answer, strict=True):
            replies[place] = reply
    for place, command in enumerate(commands):
        if command[0] == "SCAN" and isinstance(replies[place], list):
            at, cursor = int(command[1]) % _MOST_NODES, int(replies[place][0])
            following = at + 1 if at + 1 < nodes else 0  # this node has been read, go on with the next
            replies[place] = [b"%d" % (cursor * _MOST_NODES + at if cursor else following), replies[place][1]]
    return replies


def moved(client: Any, commands: Sequence[Command], replies: Sequence[Any]) -> list[NodeCommands]:
    """Return who must be asked anew, since a slot has moved; a transaction, which then did nothing, as a whole."""
    found = []
    for unit in _units(commands):
        others = (_redirected(client, replies[place]) for place in unit)
        other = next((one for one in others if one is not None), None)
        if other is not None:
            node, asking = other
            prelude: list[Command] = [("ASKING",)] if asking else []
            found.append(NodeCommands(node, unit, [*prelude, *(commands[place] for place in unit)]))
    return found


def put(replies: list[Any], share: NodeCommands, answer: list[Any]) -> None:
    """Put what a node answered that was asked anew in the places of its commands."""
    for place, reply in zip(share.places, answer[-len(share.places) :], strict=True):
        replies[place] = reply


def _redirected(client: Any, reply: Any) -> tuple[Any, bool] | None:
    """Return the node that a reply names instead, and whether it must be told ``ASKING``; ``None`` for an answer."""
    if not isinstance(reply, ReplyError):
        return None
    if reply.kind in _AGAIN:
        raise StoreUnavailableError(f"the cluster cannot answer now: {reply.kind}: {reply.text}")
    if reply.kind not in {_MOVED, _ASK}:
        return None
    host, _, port = reply.text.rpartition(" ")[2].rpartition(":")
    node = client.get_node(host=host, port=int(port))
    if node is None:
        raise StoreUnavailableError(f"the cluster names a node that is not known yet: {reply.text}")
    return node, reply.kind == _ASK


class ClusterLink:
    """A blocking way to a cluster, as ``link.Link``. Connects when it is first used, in the background.

    Args:
        make: makes the client; it connects in its constructor.
        own: the client is closed with the link.
        max_connections: to each node at most.
        lost: as of ``link.PoolLink``.
    """

    def __init__(
        self,
        make: Callable[[], redis.RedisCluster],
        *,
        lost: Callable[[str], None],
        own: bool = True,
        max_connections: int = 64,
    ) -> None:
        self._lost = lost
        self._client = ClusterClient(make)
        self._own = own
        self._limit = max_connections
        self._resolver = Resolver()
        self._sockets: PerProcess[dict[Any, ConnectionPool]] = PerProcess(dict)  # by a node's pool
        self._lock = PerProcess(threading.Lock)
        self._turn = itertools.count()
        self._refreshing = PerProcess(threading.Lock)

    def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` says: one round trip to each node that is concerned, all at once."""
        deadline = time.monotonic() + timeout_seconds
        client = self._client.get(deadline)
        try:
            asked = shares(client, commands, next(self._turn))
            replies = collect(commands, asked, self._talk(client, asked, deadline), len(client.get_primaries()))
            for again in moved(client, commands, replies):
                self._refresh(client)
                put(replies, again, self._talk(client, [again], deadline)[0])
        except BusyError:
            raise
        except (RedisError, OSError, StoreUnavailableError) as error:
            self._refresh(client)
            if isinstance(error, StoreUnavailableError):
                raise
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error
        return replies

    def close(self) -> None:
        """Close the connections, and the client where it is not the caller's."""
        for sockets in list(self._sockets.get().values()):
            sockets.close()
        if self._own:
            self._client.close()

    def _talk(self, client: redis.RedisCluster, asked: Sequence[NodeCommands], deadline: float) -> list[list[Any]]:
        """Send every share before reading the first reply."""
        held: list[tuple[ConnectionPool, OpenConnection]] = []
        answers: list[list[Any]] = []
        failure: TimeoutError | None = None
        try:
            for share in asked:
                sockets = self._sockets_of(client, share)
                held.append((sockets, sockets.take_quiet(deadline)))
                held[-1][1].send(pack(share.commands), deadline)
            for share, (_, connection) in zip(asked, held, strict=True):
                replies = connection.read(len(share.commands), deadline)
                raise_lost(replies, self._lost)  # before it counts as read: such a connection must not be kept
                answers.append(replies)
        except TimeoutError as error:
            failure = error
            raise
        finally:
            whole = len(answers) == len(asked)
            for sockets, connection in held:
                if whole:
                    sockets.keep(connection)
                else:
                    sockets.drop(connection, failure)
        return answers

    def _sockets_of(self, client: redis.RedisCluster, share: NodeCommands) -> ConnectionPool:
        pool = client.get_redis_connection(share.node).connection_pool
        known = self._sockets.get()
        with self._lock.get():
            if pool not in known:
                known[pool] = ConnectionPool(Connector(pool, self._resolver), min(self._limit, pool.max_connections))
            return known[pool]

    def _refresh(self, client: redis.RedisCluster) -> None:
        """Read slots and nodes anew in the background: a node that hangs must not cost a lookup its deadline."""
        turn = self._refreshing.get()
        if turn.acquire(blocking=False) and not start_thread("nearhit-cluster", self._read_nodes, client, turn):
            turn.release()  # the next failure tries again

    def _read_nodes(self, client: redis.RedisCluster, turn: threading.Lock) -> None:
        """Read slots and nodes, and close the connections to nodes that are gone."""
        try:
            client.nodes_manager.initialize()
            there = {node.redis_connection.connection_pool for node in client.get_nodes() if node.redis_connection}
            known = self._sockets.get()
            with self._lock.get():
                gone = [known.pop(pool) for pool in known.keys() - there]
            for sockets in gone:
                sockets.close()
        except (RedisError, OSError):
            return  # the next failure tries again
        finally:
            turn.release()
