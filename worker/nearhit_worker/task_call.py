"""Task call: what a Celery message asks for, checked and reduced to what the tasks use (pure).

Celery takes a message's word for the types of its headers. A time limit, an id or a count of another type ends the
consumer of each worker that meets it, again after each restart (Celery 5.7).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from nearhit.errors import MessageError

MAX_RETRIES = 1_000_000
MAX_AHEAD = timedelta(hours=1)
"""How far ahead a message may ask to be run: until then it takes room in a worker, and a Valkey broker delivers
it once more a minute."""

MAX_DEPTH = 200
"""How deep arguments may be nested. They are read again in the pool, where less of the stack may be left."""

HIDDEN = "-"
"""What stands for the arguments wherever Celery would show them: they hold prompts and answers."""

_ID = re.compile(r"[\x21-\x7e]{1,255}")
_EMBEDDED = frozenset({"callbacks", "errbacks", "chain", "chord"})


@dataclass(frozen=True, slots=True)
class Call:
    """A task that is to be run.

    Attributes:
        task: its name.
        args: positional arguments.
        kwargs: named arguments.
        headers: the message's headers, checked, without the arguments' text and without what the tasks do not use.
        embedded: what Celery runs after it: callbacks, chain.
        rewritten: the message was of Celery's first protocol, so that its body must be written anew.
    """

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    headers: dict[str, Any]
    embedded: dict[str, Any]
    rewritten: bool = False

    @property
    def body(self) -> list[Any]:
        """The body in Celery's second protocol."""
        return [self.args, self.kwargs, self.embedded]


def read_call(headers: Any, payload: Any, now: datetime) -> Call:
    """Return the call that a message describes.

    Args:
        headers: of the message.
        payload: its decoded body.
        now: the time, with its zone.

    Raises:
        MessageError: it describes none; the message names the field, and shows no value.
    """
    if not isinstance(headers, dict):
        raise MessageError(f"headers are {type(headers).__name__}, not a mapping")
    if "task" in headers:
        return _second_protocol(headers, payload, now)
    if not isinstance(payload, dict) or "task" not in payload:
        raise MessageError("the message names no task")
    return _first_protocol(payload, now)


def _second_protocol(headers: dict[str, Any], payload: Any, now: datetime) -> Call:
    if not isinstance(payload, list | tuple) or len(payload) != len(("args", "kwargs", "embedded")):
        raise MessageError(f"the body is {type(payload).__name__}, not a list of arguments, named ones and callbacks")
    args, kwargs, embedded = payload
    return Call(
        task=_task(headers),
        args=_args(args),
        kwargs=_kwargs(kwargs),
        headers=_headers(headers, now),
        embedded=_embedded({} if embedded is None else embedded),
    )


def _first_protocol(payload: dict[str, Any], now: datetime) -> Call:
    named = {"callbacks": payload.get("callbacks"), "errbacks": payload.get("errbacks"), "chord": payload.get("chord")}
    return Call(
        task=_task(payload),
        args=_args(payload.get("args", [])),
        kwargs=_kwargs(payload.get("kwargs", {})),
        headers=_headers(payload, now),
        embedded=_embedded({**named, "chain": None}),
        rewritten=True,
    )


def _task(given: dict[str, Any]) -> str:
    name = given["task"]
    if not isinstance(name, str):
        raise MessageError(f"the task's name is {type(name).__name__}, not text")
    return name


def _headers(given: dict[str, Any], now: datetime) -> dict[str, Any]:
    _check_limits(given.get("timelimit"))
    if given.get("expires") is not None and _time(given["expires"], "expires") <= now:
        raise MessageError("the message had expired when it was read")
    id_ = _id(given.get("id"))
    if id_ is None:
        raise MessageError("the task's id is no text of 1 to 255 characters")
    return {
        "lang": "py",
        "task": given["task"],
        "id": id_,
        "root_id": _id(given.get("root_id")) or id_,
        "parent_id": _id(given.get("parent_id")),
        "group": None,
        "eta": _eta(given.get("eta"), now),
        "expires": None,
        "retries": _retries(given.get("retries")),
        "timelimit": [None, None],
        "argsrepr": HIDDEN,
        "kwargsrepr": HIDDEN,
        "redelivered": given.get("redelivered") is True,
    }


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _retries(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_RETRIES:
        raise MessageError(f"retries is no count from 0 to {MAX_RETRIES}")
    return value


def _check_limits(value: Any) -> None:
    """Refuse time limits that are none; sound ones are left out, since each task has bounds of its own."""
    if value is None:
        return
    if not isinstance(value, list | tuple) or len(value) != len(("hard", "soft")):
        raise MessageError("timelimit is no pair")
    for one in value:
        if one is not None and (isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < math.inf):
            raise MessageError("timelimit holds what is no number of seconds")


def _eta(value: Any, now: datetime) -> str | None:
    if value is None:
        return None
    due = _time(value, "eta")
    if due > now + MAX_AHEAD:
        raise MessageError("eta is more than an hour ahead")
    return due.isoformat() if due > now else None


def _time(value: Any, name: str) -> datetime:
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise MessageError(f"{name} is no time in ISO 8601") from error
    raise MessageError(f"{name} is {type(value).__name__}, not a time in ISO 8601")


def _args(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise MessageError(f"the arguments are {type(value).__name__}, not a list")
    return list(value)


def _kwargs(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MessageError(f"the named arguments are {type(value).__name__}, not a mapping")
    return value


def _embedded(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value.keys() <= _EMBEDDED:
        raise MessageError("what is to be run after the task is no mapping of callbacks and chain")
    for name in ("callbacks", "errbacks", "chain"):
        signatures = value.get(name)
        if signatures is not None and not (isinstance(signatures, list) and all(map(_is_signature, signatures))):
            raise MessageError(f"{name} is no list of tasks")
    chord = value.get("chord")
    if chord is not None and not _is_signature(chord):
        raise MessageError("chord is no task")
    return value


def _is_signature(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("args", []), list | tuple)
        and isinstance(value.get("kwargs", {}), dict)
        and isinstance(value.get("options", {}), dict)
    )


def check_depth(value: Any, body: bytes | memoryview | str) -> None:
    """Refuse what is nested deeper than ``MAX_DEPTH``.

    Args:
        value: the decoded body.
        body: the body itself. One with fewer brackets than that is not walked through.

    Raises:
        MessageError: it is nested deeper.
    """
    raw = body.encode(errors="replace") if isinstance(body, str) else bytes(body)
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inside = (one.values() if isinstance(one, dict) else one for one in level)
        level = [item for items in inside for item in items if isinstance(item, dict | list)]
        if not level:
            return
    raise MessageError(f"the body is nested deeper than {MAX_DEPTH}")
