"""Client: the replica's own connection; returns raw replies and raises our errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from nearhit.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.steps import Command

_LONGEST_WAIT_SECONDS = 0.25


class ReplicaClient:
    """A connection to the server for one thread.

    Args:
        connect: makes the client; it and its pool belong to this object from then on.

    Raises:
        StoreUnavailableError: from every method, when the server does not answer or refuses.
    """

    def __init__(self, connect: Callable[[], redis.Redis]) -> None:
        try:
            client = connect()
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailableError(f"the replica has no connection: {error}") from error
        client.response_callbacks.clear()  # reply shapes are parsed in one place, for RESP2 and RESP3
        client.set_retry(Retry(NoBackoff(), 0))  # its own retries hide a lost server for seconds; ours are named
        timeout = client.connection_pool.connection_kwargs.get("socket_timeout")
        self._client: Any = client
        self._wait = _LONGEST_WAIT_SECONDS if timeout is None else min(_LONGEST_WAIT_SECONDS, timeout / 3)

    @property
    def wait_ms(self) -> int:
        """How long a command may block: well within the client's socket timeout, and short to stop."""
        return max(int(1000 * self._wait), 1)

    def call(self, command: Command) -> Any:
        """Return the reply to a command."""
        try:
            return self._client.execute_command(*command)
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailableError(f"{command[0]!r} failed: {error}") from error

    def call_all(self, commands: Sequence[Command], *, at_once: bool = False) -> list[Any]:
        """Return the replies to commands sent together; an error reply is an exception in its place.

        Args:
            commands: what to send.
            at_once: as a transaction, so that all replies are of one moment.
        """
        pipeline = self._client.pipeline(transaction=at_once)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            return list(pipeline.execute(raise_on_error=False))
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailableError(f"{commands[0][0]!r} failed: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
