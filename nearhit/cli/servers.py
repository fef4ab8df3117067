"""Servers: connections of commands to the cache server and the log's server, without a cache or a model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nearhit.embedding import registry
from nearhit.errors import StoreUnavailableError
from nearhit.flow.runner import run_sends
from nearhit.flow.steps import Command, Flow, ReplyError
from nearhit.telemetry.metrics import LANES
from nearhit.valkey import key_names, keyspace, server_info
from nearhit.valkey.link import link_to
from nearhit.valkey.replies import mapping
from nearhit.write import fill_log

if TYPE_CHECKING:
    from nearhit.embedding.registry import Registered
    from nearhit.settings import Settings
    from nearhit.valkey.server import Server

T = TypeVar("T")

_SECONDS = 5.0
_SCAN_COUNT = 5_000


class Ask:
    """Sends commands to one server; every failure names the server.

    Args:
        server: where it is.
        role: what it is used for, for messages: ``cache server`` or ``log server``.
    """

    def __init__(self, server: Server, role: str) -> None:
        self.server = server
        self.role = role
        self._link = link_to(server)

    def __call__(self, *command: str | bytes | int | float) -> Any:
        """Return the reply to a command; an error reply is a ``ReplyError``. Raises as ``send`` does."""
        return self.send((command,))[0]

    def send(self, commands: Sequence[Command], timeout_seconds: float = _SECONDS) -> list[Any]:
        """Return the replies to commands sent in one round trip."""
        try:
            return self._link.send(commands, timeout_seconds)
        except StoreUnavailableError as error:
            raise unanswered(self.role, self.server, str(error)) from error

    def run(self, flow: Flow[T]) -> T:
        """Return what a flow returns that embeds nothing; raises as ``send`` does."""
        return run_sends(flow, self, _SECONDS)

    def ping(self) -> None:
        """Return when the server answers."""
        reply = self("PING")
        if isinstance(reply, ReplyError):
            raise StoreUnavailableError(f"the {self.role} {self.server.label} refuses PING: {reply.text}")

    def info(self) -> dict[str, str]:
        """Return what INFO says, by name; modules as ``module:NAME`` with their version."""
        reply = self("INFO", "everything")
        if isinstance(reply, ReplyError):
            reply = self("INFO")
        return server_info.parse(reply)

    def names(self, pattern: str) -> Iterator[bytes]:
        """Yield the keys that match, by SCAN; none where the user may not scan."""

        def scan(command: Command) -> Any:
            reply = self(*command)
            return (b"0", []) if isinstance(reply, ReplyError) else reply

        for page in keyspace.pages(scan, pattern, _SCAN_COUNT):
            yield from page

    def close(self) -> None:
        """Close the connections."""
        self._link.close()


def unanswered(role: str, server: Server, detail: str) -> StoreUnavailableError:
    """Return the error of a server that does not answer or refuses the login; it says what to do."""
    if "AuthenticationError" in detail or "NOAUTH" in detail:
        way_out = "put a user and a password into its url, valkey://USER:PASSWORD@HOST:PORT"
        return StoreUnavailableError(f"authentication failed at the {role} {server.label}: {way_out}")
    return StoreUnavailableError(f"the {role} {server.label} does not answer: {detail}")


class Servers:
    """Both servers of ``settings``; they may be one.

    Args:
        settings: where they are.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = key_names.LogKeys(settings.namespace)
        self.cache = Ask(settings.server(), "cache server")
        self.log = Ask(settings.log_server(), "log server")

    @property
    def shared(self) -> bool:
        """Whether cache and log are one server, as far as their addresses say."""
        return self.cache.server.label.split("/")[0] == self.log.server.label.split("/")[0]

    def embedders(self) -> list[Registered]:
        """Return the embedders that the namespace knows."""
        return self.cache.run(registry.registered(self.settings.namespace))

    def lane(self, lane: str) -> dict[str, Any]:
        """Return how full a lane of the log is, as JSON."""
        depth = self.log.run(fill_log.depth(self.keys, lane))
        return {
            "fills": depth.fills,
            "in_work": depth.pending,
            "retrying": depth.retrying,
            "oldest_seconds": round(max(0.0, time.time() - depth.oldest_ms / 1000), 2) if depth.oldest_ms else None,
        }

    def added(self, lane: str) -> float:
        """Return how many fills a lane has ever taken."""
        reply = self.log("XINFO", "STREAM", self.keys.log(lane))
        if isinstance(reply, ReplyError) or not reply:
            return 0.0
        return float(next((value for name, value in mapping(reply).items() if _text(name) == "entries-added"), 0))

    def dead(self) -> int:
        """Return how many dead letters there are."""
        reply = self.log("XLEN", self.keys.dead)
        return reply if isinstance(reply, int) else 0

    def expired(self) -> int:
        """Return how many fills ended in the log with their time to live."""
        reply = self.log("GET", self.keys.expired)
        return int(reply) if isinstance(reply, bytes) and reply.isdigit() else 0

    def consumers(self, lane: str) -> dict[str, dict[str, int]]:
        """Return the workers that have met a lane, with ``idle`` (milliseconds since they looked) and ``pending``."""
        reply = self.log("XINFO", "CONSUMERS", self.keys.log(lane), fill_log.GROUP)
        if isinstance(reply, ReplyError) or not reply:
            return {}
        rows = [{_text(name): value for name, value in mapping(one).items()} for one in reply]
        return {_text(row["name"]): {"idle": int(row["idle"]), "pending": int(row["pending"])} for row in rows}

    def workers(self) -> dict[str, float]:
        """Return the workers that look at the log now, with the seconds since each last did."""
        seen: dict[str, float] = {}
        limit = max(5.0, 3 * self.settings.poll_seconds)
        for lane in LANES:
            for name, row in self.consumers(lane).items():
                seen[name] = min(seen.get(name, limit), row["idle"] / 1000)
        return {name: seconds for name, seconds in sorted(seen.items()) if seconds < limit}

    def close(self) -> None:
        """Close the connections."""
        self.cache.close()
        self.log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
