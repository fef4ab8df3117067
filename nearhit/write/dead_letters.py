"""Dead letters: fills that were given up; lists, replays and drops them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain import fill_message
from nearhit.domain.fill_message import FIELD
from nearhit.errors import ConfigError, MessageError, NewerMessageError
from nearhit.flow.steps import Flow, Send, accepted, ask
from nearhit.telemetry.metrics import LANES
from nearhit.valkey import server_scripts
from nearhit.valkey.replies import mapping, whole
from nearhit.write import fill_log, refresh_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nearhit.domain.fill_message import Fill
    from nearhit.valkey.key_names import LogKeys

PAGE = 500
"""Letters read in one round trip."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A fill that was given up.

    Attributes:
        id: id in the dead-letter log.
        lane: where it was.
        reason: why it was given up, from a closed set.
        detail: what went wrong, without prompt or answer.
        tries: tries that failed.
        queued_ms: when ``fill`` accepted it, milliseconds since the epoch.
        died_ms: when it was given up.
        blob: the message as it was.
    """

    id: str
    lane: str
    reason: str
    detail: str
    tries: int
    queued_ms: int
    died_ms: int
    blob: bytes

    @property
    def fill(self) -> Fill | None:
        """The fill, or ``None`` where the message is none that can be read."""
        try:
            return fill_message.decode(self.blob)
        except MessageError:
            return None

    @property
    def replayable(self) -> bool:
        """Whether the message can be put back into its lane; a refused Celery message or row cannot."""
        decode: Callable[[bytes], Any] = fill_message.decode
        if self.lane == refresh_queue.LANE:
            decode = refresh_queue.decode_request
        try:
            decode(self.blob)
        except NewerMessageError:
            return True
        except MessageError:
            return False
        return True


def letters(keys: LogKeys, after: str = "", count: int = PAGE) -> Flow[list[DeadLetter]]:
    """Return up to ``count`` letters that came after the one of id ``after``, oldest first.

    Raises:
        StoreUnavailableError: the log's server does not answer.
    """
    start = f"({_checked(after)}" if after else "-"
    reply = accepted((yield from ask(("XRANGE", keys.dead, start, "+", "COUNT", count))), keys.dead)
    return [_letter(row) for row in reply]


def letter(keys: LogKeys, id_: str) -> Flow[DeadLetter | None]:
    """Return the letter of an id, or ``None`` where there is none.

    Raises:
        ConfigError: that is no id.
        StoreUnavailableError: the log's server does not answer.
    """
    reply = accepted((yield from ask(("XRANGE", keys.dead, _checked(id_), _checked(id_)))), keys.dead)
    return _letter(reply[0]) if reply else None


def replay(keys: LogKeys, chosen: Sequence[DeadLetter]) -> Flow[int]:
    """Put letters back into their lanes, each as if it was filled anew, and return how many were.

    One that cannot be read stays where it is. Safe to run twice and at once: a letter is replayed once.

    Raises:
        StoreUnavailableError: the log's server does not answer, or is full; what was not replayed is still there.
    """
    now_ms = time.time_ns() // 1_000_000
    lanes = {*LANES, refresh_queue.LANE}
    commands = tuple(
        server_scripts.replay(keys, one.lane, one.id, now_ms) for one in chosen if one.replayable and one.lane in lanes
    )
    return (yield from _counted(keys, commands))


def drop(keys: LogKeys, ids: Iterable[str]) -> Flow[int]:
    """Remove letters for good and return how many were there.

    Raises:
        ConfigError: one is no id.
        StoreUnavailableError: the log's server does not answer.
    """
    wanted = tuple(_checked(one) for one in ids)
    return (yield from _counted(keys, (("XDEL", keys.dead, *wanted),) if wanted else ()))


def _counted(keys: LogKeys, commands: tuple[Any, ...]) -> Flow[int]:
    replies = (yield Send(commands)) if commands else []
    return sum(int(accepted(reply, keys.dead)) for reply in replies)


def _letter(row: Any) -> DeadLetter:
    fields = mapping(row[1])
    text = {name: value.decode(errors="replace") for name, value in fields.items() if name != FIELD}
    id_ = row[0].decode()
    return DeadLetter(
        id=id_,
        lane=text.get(b"lane", ""),
        reason=text.get(b"reason", ""),
        detail=text.get(b"detail", ""),
        tries=whole(fields.get(fill_log.TRIES)),
        queued_ms=whole(fields.get(fill_log.QUEUED)),
        died_ms=int(id_.partition("-")[0]),
        blob=fields.get(FIELD, b""),
    )


def _checked(id_: str) -> str:
    milliseconds, _, number = id_.partition("-")
    if not (milliseconds.isdigit() and (number.isdigit() or not number) and id_.isascii()):
        raise ConfigError(f"{id_[:80]!r} is no id of a dead letter; `nearhit dead list` shows them")
    return id_
