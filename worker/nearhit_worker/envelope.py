"""Envelope: a Celery message in a Valkey list, checked and simplified before kombu reads it (pure).

kombu trusts what it pops from a list: a value that is no JSON, or an envelope whose fields have other types, ends the
worker's consumer, and every worker that it is delivered to again (kombu 5.7). Here such a value becomes a sound
envelope of a content type of its own, which the consumer refuses like any other message that it may not read.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

REFUSED_TYPE = "application/x-nearhit-refused"
"""The content type of what could not be read; the header ``refusal`` says why."""

MAX_KEPT_BYTES = 65_536
"""How much is kept of a value that could not be read."""

PLAIN_HEADERS = frozenset({"task", "id", "root_id", "parent_id", "eta", "expires", "retries", "compression"})
"""The headers that are used and hold one plain value each; a time limit is a pair. All others are left out."""

MAX_PRIORITY = 9

_NAME = re.compile(r"[\x20-\x7e]{1,255}")


class EnvelopeError(ValueError):
    """What was popped is no envelope; the message says why, without what is in it."""


def plain(raw: bytes, queue: str, tag: str) -> bytes:
    """Return the envelope that ``raw`` holds with the fields that are used, each of the type that kombu expects.

    Args:
        raw: what was popped from the list.
        queue: the queue it came from. A message that is not acknowledged goes back there, whatever it says itself.
        tag: what the message is called until it is acknowledged. One of our own, since two messages that carry the same
            one would be acknowledged together.
    """
    try:
        return _plain(raw, queue, tag)
    except (EnvelopeError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, EnvelopeError) else f"the envelope is not JSON: {type(error).__name__}"
        return _sealed(raw[:MAX_KEPT_BYTES], REFUSED_TYPE, "binary", {"refusal": why}, _properties({}, queue, tag))


def _plain(raw: bytes, queue: str, tag: str) -> bytes:
    envelope = _mapping(json.loads(raw.decode()), "the envelope")
    properties = _mapping(envelope.get("properties") or {}, "properties of the envelope")
    return _sealed(
        _body(envelope.get("body"), properties.get("body_encoding")),
        _text(envelope.get("content-type"), "content type"),
        _text(envelope.get("content-encoding") or "utf-8", "content encoding"),
        _headers(_mapping(envelope.get("headers") or {}, "headers of the envelope")),
        _properties(properties, queue, tag),
    )


def _sealed(body: bytes, kind: str, encoding: str, headers: dict[str, Any], properties: dict[str, Any]) -> bytes:
    envelope = {
        "body": base64.b64encode(body).decode(),
        "content-type": kind,
        "content-encoding": encoding,
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(envelope).encode()


def _properties(given: dict[str, Any], queue: str, tag: str) -> dict[str, Any]:
    priority = given.get("priority")
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= MAX_PRIORITY:
        priority = 0
    correlation = given.get("correlation_id")
    return {
        "correlation_id": correlation if isinstance(correlation, str) and _NAME.fullmatch(correlation) else tag,
        "delivery_mode": 2,
        "delivery_tag": tag,
        "delivery_info": {"exchange": "", "routing_key": queue},  # the exchange of no name is the queue itself
        "priority": priority,
        "body_encoding": "base64",
    }


def _headers(given: dict[str, Any]) -> dict[str, Any]:
    kept = {}
    for name in PLAIN_HEADERS & given.keys():
        value = given[name]
        if isinstance(value, dict | list):
            raise EnvelopeError(f"header {name!r} is a {type(value).__name__}")
        kept[name] = value
    if "timelimit" in given:
        limit = given["timelimit"]
        sound = isinstance(limit, list) and len(limit) == 2 and not any(isinstance(one, dict | list) for one in limit)
        # what is none is named in short: deep nesting must not reach another parser
        kept["timelimit"] = limit if sound or limit is None else type(limit).__name__
    return kept


def _body(body: Any, encoding: Any) -> bytes:
    if not isinstance(body, str):
        raise EnvelopeError(f"body of the envelope is {type(body).__name__}, not text")
    if encoding in (None, "") or (isinstance(encoding, str) and encoding.lower() == "utf-8"):
        return body.encode()
    if encoding != "base64":
        raise EnvelopeError("body of the envelope has an unknown encoding")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EnvelopeError("body of the envelope is not base64") from error


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise EnvelopeError(f"{what}: a mapping is expected, not {type(value).__name__}")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise EnvelopeError(f"{what} of the envelope is no name")
    return value
