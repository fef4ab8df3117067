"""Entry: the format of what is stored, a HASH under a key that its scope and text determine."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from nearhit.errors import EntryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCOPE = b"scope"
TENANT = b"tenant"
PROMPT = b"prompt"
RESPONSE = b"response"
LARGE_RESPONSE = b"response_large"
EMBEDDING = b"embedding"
EMBEDDER = b"embedder"
CREATED = b"created"
FRESH_UNTIL = b"fresh_until"
EXPIRES = b"expires"
USAGE = b"usage"
REFRESH = b"refresh"

READ_FIELDS = (PROMPT, RESPONSE, EMBEDDER, SCOPE, CREATED, FRESH_UNTIL, EXPIRES, USAGE, REFRESH)
"""What a lookup fetches of an entry: all but the vector."""

MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""The largest answer in bytes of JSON."""

MAX_INLINE_RESPONSE_BYTES = 1024 * 1024
"""The largest answer that a search carries. valkey-search drops a search record above 5 MB without a word (1.2.1), and
a lookup fetches several; larger answers stand in a field of their own, which is read by key once one is chosen."""

MAX_PROMPT_CHARS = 32_768
"""The longest canonical text. Embedding models cut far earlier, so that longer texts would share one vector."""


MAX_WHOLE = 2**53
"""The largest whole number in a field: a script in the server compares them as doubles."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the answer cost when a model wrote it: tokens in and out, US dollars, and the model.

    Raises:
        EntryError: a figure is no number, is below 0, or is not finite: it could not be counted as saved.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_dollars: float = 0.0
    model: str = ""

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "completion_tokens"):
            tokens = getattr(self, name)
            if not isinstance(tokens, int) or not 0 <= tokens <= MAX_WHOLE:
                raise EntryError(f"{name} of a usage is a count from 0 up, not {tokens!r}")
        dollars = self.cost_dollars
        if not isinstance(dollars, int | float) or not 0 <= dollars < math.inf:
            raise EntryError(f"cost_dollars of a usage is a number from 0 up, not {dollars!r}")


class Entry(Struct, frozen=True, kw_only=True):
    """An answer as it is stored.

    Attributes:
        scope: hex digest of who may share the answer.
        tenant: hex digest of the tenant; empty for none.
        prompt: the canonical text that the answer belongs to.
        response: the answer as JSON text; empty for a large one that was not fetched yet.
        embedding: the unit vector, float32 little endian.
        embedder: fingerprint of what made the vector.
        created_us: when the answer was given, microseconds since the epoch; a newer one wins.
        fresh_until_ms: until when a hit is fresh, milliseconds since the epoch.
        expires_ms: when the entry ends, milliseconds since the epoch.
        usage: what the answer cost; ``None`` where nobody said.
        refresh: how to ask the model again, as JSON; empty where nobody said.
    """

    scope: str
    tenant: str
    prompt: str
    response: bytes
    embedding: bytes
    embedder: str
    created_us: int
    fresh_until_ms: int
    expires_ms: int
    usage: Usage | None = None
    refresh: bytes = b""


def prompt_digest(text: str) -> str:
    """Return the 32 hex digits of a canonical text in a key."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def encode_response(answer: Any) -> bytes:
    """Return an answer as JSON bytes.

    Raises:
        EntryError: it is not JSON (another type, NaN, a lone surrogate), or larger than ``MAX_RESPONSE_BYTES``.
    """
    try:
        blob = (
            msgspec.json.encode(answer)  # it would write NaN as null, so that it gets texts alone
            if type(answer) is str
            else json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        )
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise EntryError(f"the answer is not JSON: {error}") from error
    if len(blob) > MAX_RESPONSE_BYTES:
        raise EntryError(f"the answer has {len(blob)} bytes, the limit is {MAX_RESPONSE_BYTES}")
    return blob


def decode_response(blob: bytes) -> Any:
    """Return the answer that ``encode_response`` wrote.

    Raises:
        EntryError: it is not JSON; ``NaN`` and ``Infinity``, which Python writes and reads, are none.
    """
    try:
        return strict_json(blob)
    except (ValueError, RecursionError) as error:
        raise EntryError(f"the stored answer of {len(blob)} bytes is not JSON") from error


def strict_json(text: str | bytes) -> Any:
    """Return what JSON text says.

    Raises:
        ValueError: it is no JSON, or holds a number that is not finite: ``NaN``, ``Infinity``, ``1e999``.
        RecursionError: it is nested too deep.
    """
    return _STRICT.decode(text)


_STRICT = msgspec.json.Decoder()  # takes a tenth of the time that the json module does


def to_fields(entry: Entry) -> dict[bytes, bytes]:
    """Return the HASH fields of an entry."""
    large = len(entry.response) > MAX_INLINE_RESPONSE_BYTES
    return {
        SCOPE: entry.scope.encode(),
        TENANT: entry.tenant.encode(),
        PROMPT: entry.prompt.encode(),
        RESPONSE: b"" if large else entry.response,
        LARGE_RESPONSE: entry.response if large else b"",
        EMBEDDING: entry.embedding,
        EMBEDDER: entry.embedder.encode(),
        CREATED: b"%d" % entry.created_us,
        FRESH_UNTIL: b"%d" % entry.fresh_until_ms,
        EXPIRES: b"%d" % entry.expires_ms,
        USAGE: encode_usage(entry.usage),
        REFRESH: entry.refresh,
    }


def named(values: Sequence[bytes | None], names: Sequence[bytes] = READ_FIELDS) -> dict[bytes, bytes]:
    """Return the fields that an HMGET reply holds, by name; ``names`` are those that were asked for, in order."""
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def from_fields(fields: Mapping[bytes, bytes]) -> Entry:
    """Return the entry that HASH fields hold; vector and large answer are empty where they were not fetched.

    Raises:
        EntryError: a field is missing or cannot be read; the message names it.
    """
    try:
        return Entry(
            scope=fields[SCOPE].decode(),
            tenant=fields.get(TENANT, b"").decode(),
            prompt=fields[PROMPT].decode(),
            response=fields[RESPONSE] or fields.get(LARGE_RESPONSE, b""),
            embedding=fields.get(EMBEDDING, b""),
            embedder=fields[EMBEDDER].decode(),
            created_us=_whole(fields[CREATED]),
            fresh_until_ms=_whole(fields[FRESH_UNTIL]),
            expires_ms=_whole(fields[EXPIRES]),
            usage=decode_usage(fields.get(USAGE, b"")),
            refresh=fields.get(REFRESH, b""),
        )
    except KeyError as error:
        raise EntryError(f"the entry has no field {error.args[0].decode()!r}") from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise EntryError(f"a field of the entry cannot be read: {error}") from error


def _whole(text: bytes) -> int:
    if len(text) <= 16 and text.isdigit() and (value := int(text)) <= MAX_WHOLE:
        return value
    raise ValueError(f"{text[:20]!r} is not a whole number from 0 to {MAX_WHOLE}")


def encode_usage(usage: Usage | None) -> bytes:
    """Return usage as compact JSON; empty for none."""
    return b"" if usage is None else json.dumps(astuple(usage), separators=(",", ":")).encode()


def decode_usage(blob: bytes) -> Usage | None:
    """Return the usage that ``encode_usage`` wrote.

    Raises:
        EntryError: it is something else.
    """
    if not blob:
        return None
    try:
        prompt_tokens, completion_tokens, cost_dollars, model = json.loads(blob)
        return Usage(prompt_tokens, completion_tokens, cost_dollars, str(model))
    except (EntryError, ValueError, TypeError, RecursionError) as error:
        raise EntryError(f"the stored usage cannot be read: {blob[:80]!r}") from error
