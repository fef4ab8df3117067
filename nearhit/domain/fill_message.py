"""Fill message: the format of a fill in the log: msgpack with a version, bounded in size, never pickle."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct, msgpack, structs

from nearhit.domain.entry import MAX_PROMPT_CHARS, MAX_RESPONSE_BYTES, MAX_WHOLE, Usage
from nearhit.errors import EntryError, MessageError, NewerMessageError

VERSION: Literal[1] = 1
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


class Fill(Struct, frozen=True, kw_only=True):
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


class _Message(Struct, rename=dict(zip(("version", *Fill.__struct_fields__), "vstprclfexua", strict=True))):
    """A fill as it travels: other fields are passed over, none of these may lack."""

    version: Literal[1]
    scope: str
    tenant: str
    prompt: str
    response: bytes
    created_us: int
    ttl_ms: int
    fresh_ms: int
    embedder: str
    embedding: bytes
    usage: tuple[int, int, float, str] | None
    refresh: bytes


def _plain(value: Any) -> Any:
    """Return a value of a subclass, for example a float of numpy, as what it is."""
    kind: Any = next((kind for kind in (str, bytes, int, float) if isinstance(value, kind)), None)
    if kind is None:
        raise TypeError(f"a fill cannot hold a {type(value).__name__}")
    return kind(value)


_ENCODER = msgpack.Encoder(enc_hook=_plain)
_DECODER = msgpack.Decoder(_Message)


def encode(fill: Fill) -> bytes:
    """Return the message as bytes.

    Raises:
        MessageError: larger than ``MAX_MESSAGE_BYTES``, or a field is out of its bounds.
    """
    fill.check()
    usage = fill.usage
    spent = (usage.prompt_tokens, usage.completion_tokens, usage.cost_dollars, usage.model) if usage else None
    row = _Message(
        *(VERSION, fill.scope, fill.tenant, fill.prompt, fill.response, fill.created_us, fill.ttl_ms, fill.fresh_ms),
        *(fill.embedder, fill.embedding, spent, fill.refresh),
    )
    blob = _ENCODER.encode(row)
    if len(blob) > MAX_MESSAGE_BYTES:
        raise MessageError(f"the fill has {len(blob)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return blob


class _Versioned(Struct):
    """What messages of all versions have in common."""

    v: int


def refuse_newer(blob: bytes, known: int) -> None:
    """Raise where a message that cannot be decoded is of a later version than ``known``.

    Raises:
        NewerMessageError: it is.
    """
    try:
        version = msgpack.decode(blob, type=_Versioned).v
    except (ValueError, RecursionError):
        return
    if version > known:
        raise NewerMessageError(f"the message has version {version}, and this process knows {known}")


def decode(blob: bytes) -> Fill:
    """Return the fill that ``blob`` holds.

    Raises:
        NewerMessageError: it has a later version.
        MessageError: not msgpack, too large, no version, or a field missing, of another type or out of its bounds.
    """
    if len(blob) > MAX_MESSAGE_BYTES:
        raise MessageError(f"the fill has {len(blob)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    try:
        row = structs.asdict(_DECODER.decode(blob))
        usage = row["usage"] and Usage(*row["usage"])
    except (EntryError, ValueError, RecursionError) as error:
        refuse_newer(blob, VERSION)
        problem = str(error).replace("`", "'")
        raise MessageError(f"the fill of {len(blob)} bytes is not of version {VERSION}: {problem}") from error
    del row["version"]
    fill = Fill(**{**row, "usage": usage})
    fill.check()
    return fill
