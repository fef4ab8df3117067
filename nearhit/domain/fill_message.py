"""Fill message: the format of a fill in the log: msgpack with a version, bounded in size, never pickle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgpack

from nearhit.domain.entry import MAX_PROMPT_CHARS, MAX_RESPONSE_BYTES, MAX_WHOLE, Usage
from nearhit.errors import EntryError, MessageError

VERSION = 1
MAX_MESSAGE_BYTES = MAX_RESPONSE_BYTES + 1024 * 1024
"""The largest fill message: the largest answer, the longest prompt, a vector of 32,768 dimensions, and room."""

MAX_LIFE_MS = 366 * 86_400_000
"""The longest time to live: no entry is immortal."""

SCOPE_DIGITS = r"[0-9a-f]{32}|[0-9a-f]{64}"
"""How the digest of a scope looks; the longer one is of LiteLLM's layout, see ``nearhit/index/litellm_layout.py``."""

_DIGEST = re.compile(r"[0-9a-f]{32}")
_SCOPE = re.compile(SCOPE_DIGITS)
_FINGERPRINT = re.compile(r"[0-9a-f]{0,64}")

FIELD = b"m"
"""The field of a log entry that holds the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """An answer on its way into the cache.

    Attributes:
        scope: hex digest of who may share the answer.
        tenant: hex digest of the tenant; empty for none.
        prompt: canonical text of the question.
        response: the answer as JSON text; empty asks the worker to ask the model by ``refresh``.
        created_us: when the answer was given, microseconds since the epoch by the caller's clock; the newest wins,
            and a time in the future counts as the moment in which a worker takes it.
        ttl_ms: how long the entry lives, jitter included.
        fresh_ms: how long a hit is fresh.
        embedder: fingerprint of what made ``embedding``; empty when there is none.
        embedding: unit vector as float32 little endian; empty lets the worker embed the prompt.
        usage: what the answer cost.
        refresh: how to ask the model again, as JSON; empty where nobody said.
    """

    scope: str
    tenant: str = ""
    prompt: str
    response: bytes
    created_us: int
    ttl_ms: int
    fresh_ms: int
    embedder: str = ""
    embedding: bytes = b""
    usage: Usage | None = None
    refresh: bytes = b""

    def check(self) -> None:
        """Refuse what could never become a sound entry.

        Raises:
            MessageError: a field is out of its bounds; the message names it.
        """
        if not _SCOPE.fullmatch(self.scope) or (self.tenant and not _DIGEST.fullmatch(self.tenant)):
            raise MessageError("scope and tenant of the fill must be 32 hex digits each")
        if not 0 < len(self.prompt) <= MAX_PROMPT_CHARS:
            raise MessageError(f"the fill's prompt has {len(self.prompt)} characters, the limit is {MAX_PROMPT_CHARS}")
        if not _FINGERPRINT.fullmatch(self.embedder):
            raise MessageError("embedder of the fill must be a fingerprint in hex")
        if not 0 <= self.created_us < MAX_WHOLE:
            raise MessageError(f"created_us of the fill is {self.created_us}, expected 0 to {MAX_WHOLE}")
        if not 0 < self.ttl_ms <= MAX_LIFE_MS or not 0 <= self.fresh_ms <= MAX_LIFE_MS:
            raise MessageError(f"the fill lives {self.ttl_ms} ms, fresh {self.fresh_ms}; the limit is {MAX_LIFE_MS}")


def encode(fill: Fill) -> bytes:
    """Return the message as bytes.

    Raises:
        MessageError: larger than ``MAX_MESSAGE_BYTES``, or a field is out of its bounds.
    """
    fill.check()
    usage = fill.usage
    row = {
        "v": VERSION,
        "s": fill.scope,
        "t": fill.tenant,
        "p": fill.prompt,
        "r": fill.response,
        "c": fill.created_us,
        "l": fill.ttl_ms,
        "f": fill.fresh_ms,
        "e": fill.embedder,
        "x": fill.embedding,
        "u": usage and (usage.prompt_tokens, usage.completion_tokens, usage.cost_dollars, usage.model),
        "a": fill.refresh,
    }
    blob: bytes = msgpack.packb(row)
    if len(blob) > MAX_MESSAGE_BYTES:
        raise MessageError(f"the fill has {len(blob)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return blob


def decode(blob: bytes) -> Fill:
    """Return the fill that ``blob`` holds.

    Raises:
        MessageError: not msgpack, too large, an unknown version, or a field missing, of another type or out of
            its bounds.
    """
    if len(blob) > MAX_MESSAGE_BYTES:
        raise MessageError(f"the fill has {len(blob)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    try:
        row = msgpack.unpackb(blob)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise MessageError(f"the fill of {len(blob)} bytes is not msgpack: {error}") from error
    version = row.get("v") if isinstance(row, dict) else None
    if version != VERSION or isinstance(version, bool):
        raise MessageError(f"the fill has version {version!r}, this worker knows {VERSION}")
    try:
        return _read(row)
    except KeyError as error:
        raise MessageError(f"the fill has no field {error.args[0]!r}") from error


def _read(row: dict[str, Any]) -> Fill:
    usage = row["u"]
    if usage is not None:
        try:
            prompt_tokens, completion_tokens, cost_dollars, model = usage
            usage = Usage(prompt_tokens, completion_tokens, cost_dollars, str(model))
        except (TypeError, ValueError, EntryError) as error:
            raise MessageError(f"field 'u' of the fill is no usage: {error}") from error
    fill = Fill(
        scope=_typed(row, "s", str),
        tenant=_typed(row, "t", str),
        prompt=_typed(row, "p", str),
        response=_typed(row, "r", bytes),
        created_us=_typed(row, "c", int),
        ttl_ms=_typed(row, "l", int),
        fresh_ms=_typed(row, "f", int),
        embedder=_typed(row, "e", str),
        embedding=_typed(row, "x", bytes),
        usage=usage,
        refresh=_typed(row, "a", bytes),
    )
    fill.check()
    return fill


def _typed(row: dict[str, Any], name: str, kind: type) -> Any:
    value = row[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MessageError(f"field {name!r} of the fill is {type(value).__name__}, expected {kind.__name__}")
    return value
