"""Running: a server that was there before the tests, and stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nearhit_worker.stack import ValkeyServer

from nearhit import Server

if TYPE_CHECKING:
    import redis


@dataclass
class RunningServer(ValkeyServer):
    """A server that somebody else has started; nothing here stops it.

    Args:
        address: its url.
    """

    address: str = ""

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.address

    def client(self) -> redis.Redis:
        """Return a client of its own connections."""
        return Server(url=self.address, timeout_seconds=10).single_client()

    def start(self, timeout_seconds: float = 30.0) -> Self:
        """Do nothing: it runs."""
        return self

    def __enter__(self) -> Self:
        return self
