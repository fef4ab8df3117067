"""Steps: what a flow, a decision written once as a generator, may ask of the world.

A flow yields what it needs from the world and is sent the answer; it never touches a socket or a clock itself. So the
sync and the asyncio twin share every line that decides, and a test can drive a flow by hand.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from msgspec import Struct

from nearhit.errors import StoreUnavailableError

T = TypeVar("T")

Word = bytes | str | int | float
Command = tuple[Word, ...]


class Send(Struct, frozen=True):
    """Send commands to a server in one round trip; the answer is a list with one reply for each.

    A reply is what the server said, as bytes, ints, lists and None; an error reply is a ``ReplyError`` in its place.
    ``StoreUnavailableError`` is thrown into the flow when the server does not answer.

    Attributes:
        commands: what to send, in order.
        stage: under which name the time is counted.
        after_seconds: how long to wait before, without blocking an event loop.
    """

    commands: tuple[Command, ...]
    stage: str = "store"
    after_seconds: float = 0.0


class Embed(Struct, frozen=True):
    """Embed texts in one call; the answer is ``Embeddings``.

    ``EmbedderUnavailableError`` or ``ContractError`` is thrown into the flow when that fails.
    """

    texts: tuple[str, ...]


class Compare(Struct, frozen=True):
    """Ask the judge about pairs of texts; the answer is a list with a ``Judgement`` or an error for each.

    An error is an ``UnavailableError`` or a ``ContractError`` in its place. ``JudgeUnavailableError`` is thrown into
    the flow when nothing could be asked at all: no time is left, or the breaker is open.

    Attributes:
        pairs: what is asked and what was answered, in order.
        seconds: longest time of it all.
    """

    pairs: tuple[tuple[str, str], ...]
    seconds: float


class ReplyError(Struct, frozen=True):
    """An error reply of the server, as a value.

    Attributes:
        text: the reply without its leading dash and without a code that redis-py knows.
        kind: name of the redis-py exception, for example ``NoPermissionError`` for a NOPERM reply.
    """

    text: str
    kind: str = "ResponseError"

    def says(self, code: str) -> bool:
        """Return whether it has an error code, for example ``NOGROUP``, that redis-py knows or not."""
        return code in self.text + self.kind


Step = Send | Embed | Compare
Flow = Generator[Step, Any, T]


def ask(command: Command, stage: str = "store") -> Flow[Any]:
    """Send one command and return its reply; an error reply is a ``ReplyError``."""
    return (yield Send((command,), stage))[0]


def accepted(reply: Any, what: str) -> Any:
    """Return a reply that is no error.

    Args:
        reply: to one command.
        what: was asked for, or where; it begins the message of the error.

    Raises:
        StoreUnavailableError: the server refuses.
    """
    if isinstance(reply, ReplyError):
        raise StoreUnavailableError(f"{what}: {reply.kind}: {reply.text}")
    return reply
