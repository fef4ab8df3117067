"""Envelopes: Celery messages as a broken or hostile program may send them, made by dice of a known seed.

Each is a fill of a question of its own in which something may be wrong, so that of each there must be one entry or one
dead letter in the end, whatever it is that was wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.write.wakeup import TASK_FILL, TASK_FILL_MANY

if TYPE_CHECKING:
    import random

DEEP: Any = "bottom"
for _ in range(300):
    DEEP = [DEEP]

JUNK: tuple[Any, ...] = (
    *(None, 5, -1, 0, 10**30, -(10**18), 1.5, True, False, "junk", "", "5", "x" * 3000, "\x00", "ü"),
    *([], [1], [None], [None, None, None], ["a", {}], {}, {"a": 1}, {"task": "nearhit.fill"}, DEEP),
    *("2026-13-45", "9999-12-31T23:59:59", "0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00+00:00"),
)
ROW_FIELDS = ("answer", "scope", "ttl_seconds", "fresh_seconds", "lane", "refresh", "usage", "created_seconds", "more")
HEADERS = (
    *("id", "eta", "expires", "retries", "timelimit", "root_id", "parent_id", "group", "shadow", "meth", "lang"),
    *("argsrepr", "kwargsrepr", "origin", "ignore_result", "stamps", "stamped_headers", "replaced_task_nesting"),
    *("redelivered", "compression", "unknown"),
)
SCOPES: tuple[Any, ...] = (
    *({"digest": 5}, {"digest": "x"}, {"tenant": 5}, {"tools": DEEP}, {"split_by": 5}, {"parameters": []}, [], "x", 5),
    {"tenant": "t" * 5000},
)


@dataclass(slots=True)
class Sent:
    """A message before it is put on the wire of a broker."""

    headers: Any
    body: Any
    content_type: Any = "application/json"
    content_encoding: Any = "utf-8"


def question(number: int) -> str:
    """Return a question that no other number gives, nor a flipped byte in another one's."""
    return f"question {number} {hashlib.sha256(str(number).encode()).hexdigest()[:12]}"


def message(dice: random.Random, number: int) -> Sent:
    """Return a message in which one thing, or two, or nothing, is wrong."""
    row: Any = {"prompt": question(number), "answer": f"answer {number}"}
    many = dice.random() < 0.2
    faults = {dice.choice(_FAULTS) for _ in range(dice.choice((0, 1, 1, 1, 1, 1, 1, 2, 2)))}
    if "row" in faults:
        row = _broken_row(dice, row)
    call: dict[str, Any] = {"task": TASK_FILL_MANY if many else TASK_FILL, "id": f"id-{number}"}
    if "task" in faults:
        call["task"] = dice.choice([*(one for one in JUNK if one != ""), "celery.map", "celery.chord_unlock"])
    if "header" in faults:
        call[dice.choice(HEADERS)] = dice.choice(JUNK)
    parts = _parts(dice, [row] if many else row, faults)
    sent = Sent(call, parts)
    if "first protocol" in faults:
        sent = Sent({}, {**call, "args": parts[0], "kwargs": parts[1]})
    return _wrapped(dice, sent, parts, faults)


def _parts(dice: random.Random, row: Any, faults: set[str]) -> list[Any]:
    """Return arguments, named ones, and what is to be run afterwards."""
    args: Any = [row]
    kwargs: Any = {}
    embedded: Any = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    if "args" in faults:
        args = dice.choice(([], [row, 5], {}, None, "x", 5, DEEP, [row, {}, {}]))
    if "kwargs" in faults:
        kwargs = dice.choice((None, [], 5, {"row": 1}, {"nothing": 1}, "x"))
    if "embedded" in faults:
        wrong = {**embedded, dice.choice(list(embedded)): dice.choice((5, [5], [{}], {"task": 5}))}
        embedded = dice.choice((5, [], "x", {"retries": {}}, wrong))
    return [args, kwargs, embedded]


def _wrapped(dice: random.Random, sent: Sent, parts: list[Any], faults: set[str]) -> Sent:
    """Return the message with another body, content type or encoding, where one of these is wrong."""
    if "body" in faults:
        sent.body = dice.choice((*JUNK, [], [[]], ["args", {}, {}], parts[:2], [*parts, 1]))
    if "type" in faults:
        sent.content_type = dice.choice(("application/x-python-serialize", "text/plain", "yaml", "", "a/b" * 30))
    if "encoding" in faults:
        sent.content_encoding = dice.choice(("binary", "utf-16", "latin-1", "nonsense", "", "zlib"))
    return sent


_FAULTS = (
    *("row", "row", "task", "header", "header", "args", "kwargs", "embedded"),
    *("first protocol", "body", "type", "encoding"),
)


def _broken_row(dice: random.Random, row: dict[str, Any]) -> Any:
    kind = dice.random()
    if kind < 0.1:
        return dice.choice([one for one in JUNK if one != []])
    if kind < 0.2:
        return {**row, "prompt": dice.choice((None, 5, "", [], {}, DEEP))}
    if kind < 0.4:
        return {**row, "scope": dice.choice(SCOPES)}
    name = dice.choice(ROW_FIELDS)
    short_lives = (5, 1.5) if name == "ttl_seconds" else ()  # an entry that ends before it is counted is no loss
    return {**row, name: dice.choice([one for one in JUNK if one not in short_lives])}


def body_of(sent: Sent, dice: random.Random) -> bytes:
    """Return the body as bytes; one in twenty is cut, flipped, compressed or something else altogether."""
    raw = json.dumps(sent.body).encode()
    if dice.random() < 0.95:
        return raw
    at = dice.randrange(max(1, len(raw)))
    flipped = raw[:at] + bytes([dice.randrange(256)]) + raw[at + 1 :]
    return dice.choice((raw[:at], flipped, zlib.compress(raw), dice.randbytes(at), b"", b"[" * 100_000, b"9" * 5000))


def valkey_value(dice: random.Random, number: int) -> bytes:
    """Return what is pushed to a list of a Valkey broker."""
    sent = message(dice, number)
    properties: Any = {
        "body_encoding": "base64",
        "correlation_id": f"id-{number}",
        "delivery_info": {"exchange": "", "routing_key": "q"},
        "delivery_mode": 2,
        "delivery_tag": f"tag-{number}",
        "priority": 0,
    }
    envelope: Any = {
        "body": base64.b64encode(body_of(sent, dice)).decode(),
        "content-type": sent.content_type,
        "content-encoding": sent.content_encoding,
        "headers": sent.headers,
        "properties": properties,
    }
    kind = dice.random()
    if kind < 0.1:
        properties[dice.choice(list(properties))] = dice.choice(JUNK)
    elif kind < 0.2:
        envelope[dice.choice(list(envelope))] = dice.choice(JUNK)
    elif kind < 0.25:
        del envelope[dice.choice(list(envelope))]
    elif kind < 0.28:
        envelope = dice.choice(JUNK)
    raw = json.dumps(envelope).encode()
    if kind > 0.97:
        at = dice.randrange(len(raw))
        flipped = raw[:at] + dice.randbytes(1) + raw[at + 1 :]
        raw = dice.choice((raw[:at], flipped, dice.randbytes(50), b"[" * 100_000, b" "))
    return raw


def amqp_properties(sent: Sent, dice: random.Random) -> dict[str, Any]:
    """Return the properties with which a message is published to RabbitMQ."""
    headers = {name: _fits(value) for name, value in sent.headers.items()}
    kind: Any = str(sent.content_type)
    if dice.random() < 0.02:
        kind = b"\xff\xfe"  # no UTF-8: py-amqp raises where it reads the frame
    return {"content_type": kind, "content_encoding": sent.content_encoding, "application_headers": headers}


def _fits(value: Any) -> Any:
    """Return a header that AMQP's tables can hold."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return 2**62
    return [] if value is DEEP else value
