"""Prompt: the canonical text of a question, and what of the conversation around it changes the answer."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nearhit.entry import MAX_PROMPT_CHARS
from nearhit.errors import ContractError
from nearhit.scope import digest_of


class Bypass(StrEnum):
    """Why a prompt cannot be cached."""

    EMPTY = "bypass_empty"
    TOO_LONG = "bypass_too_long"
    NOT_TEXT = "bypass_not_text"
    NOT_UNICODE = "bypass_not_unicode"
    UNKNOWN_PART = "bypass_unknown_part"
    SCOPE = "bypass_scope"


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the cache sees it.

    Attributes:
        text: the canonical text: Unicode NFC, white space folded.
        context: all other messages and parts of the conversation, in order; it belongs to the scope. ``None`` for a
            plain question.
    """

    text: str
    context: list[Any] | None = None


class _BypassError(Exception):
    def __init__(self, reason: Bypass) -> None:
        super().__init__(reason.value)
        self.reason = reason


_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_MEDIA_PARTS = frozenset(
    {
        "image_url",
        "input_image",
        "image",
        "input_audio",
        "audio",
        "file",
        "input_file",
        "video_url",
        "document",
    }
)

_USER = {"role": "user"}.items()

_VOLATILE = frozenset({"id", "call_id", "tool_call_id", "status", "cache_control"})
"""Fields of a turn that differ from call to call or steer the provider alone."""


def read_prompt(prompt: Any) -> Question | Bypass:
    """Return the question that ``prompt`` asks, or the reason why it cannot be cached. Never raises.

    Args:
        prompt: a text, UTF-8 bytes, a chat's messages, or the ``input`` of the Responses API. A message is a mapping or
            a pydantic model with ``role`` and ``content``, the content a text or a list of parts.

    The text is that of the last user message. Every other message, every image and file (by digest) and every tool
    call (by its name and the digest of its arguments) goes into the context, so that the same words in another
    conversation are another question.
    """
    try:
        if isinstance(prompt, str | bytes):
            return Question(canonical_text(prompt))
        return _read_messages(prompt)
    except _BypassError as bypass:
        return bypass.reason
    except ContractError:
        return Bypass.UNKNOWN_PART


def canonical_text(text: str | bytes) -> str:
    """Return ``text`` in Unicode NFC with white space folded; the caller sees a ``Bypass`` through ``read_prompt``."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            raise _BypassError(Bypass.NOT_UNICODE) from None
    if len(text) > 4 * MAX_PROMPT_CHARS:  # before the costly steps: a prompt of megabytes must cost nothing
        raise _BypassError(Bypass.TOO_LONG)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _BypassError(Bypass.NOT_UNICODE) from None
        text = unicodedata.normalize("NFC", text)
    folded = " ".join(text.replace("\0", " ").split())
    if not folded:
        raise _BypassError(Bypass.EMPTY)
    if len(folded) > MAX_PROMPT_CHARS:
        raise _BypassError(Bypass.TOO_LONG)
    return folded


def _read_messages(prompt: Any) -> Question:
    if isinstance(prompt, Mapping) or not isinstance(prompt, Sequence):
        raise _BypassError(Bypass.NOT_TEXT)
    messages = [_mapping(message) for message in prompt]
    if len(messages) == 1 and messages[0].items() >= _USER and len(messages[0]) == 2:
        content = messages[0].get("content")
        if isinstance(content, str):  # most questions: nothing else is there that could change the answer
            return Question(canonical_text(content))
    asked = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=None)
    if asked is None:
        raise _BypassError(Bypass.NOT_TEXT if messages else Bypass.EMPTY)
    texts, media = _parts(messages[asked].get("content"))
    if not texts:
        raise _BypassError(Bypass.NOT_TEXT if media else Bypass.EMPTY)
    before = [_turn(message) for message in messages[:asked]]
    after = [_turn(message) for message in messages[asked + 1 :]]
    about = _turn({**messages[asked], "content": None})[1:]  # the name of who asks, for one
    context = [before, media, after, about] if before or media or after or any(about) else None
    return Question(canonical_text("\n".join(texts)), context)


def _mapping(message: Any) -> Mapping[str, Any]:
    if isinstance(message, Mapping):
        return message
    dump = getattr(message, "model_dump", None)
    if callable(dump) and not isinstance(message, type):
        dumped = dump()
        if isinstance(dumped, Mapping):
            return dumped
    raise _BypassError(Bypass.UNKNOWN_PART)


def _turn(message: Mapping[str, Any]) -> list[Any]:
    """Return what of a turn around the question changes its answer; ids that differ at every call are left out."""
    if message.get("type") == "item_reference":  # what it says is kept elsewhere
        raise _BypassError(Bypass.UNKNOWN_PART)
    said = "content" if "content" in message else "output"
    texts, media = _parts(message.get(said))
    calls = [_call(call) for call in _listed(message.get("tool_calls"))]
    seen = {"role", "type", "name", "tool_calls", said}
    if message.get("function_call") or message.get("type") == "function_call":
        calls.append(_call({"function": message.get("function_call") or message}))
        seen |= {"function_call", "arguments"}
    kind = message.get("role") or message.get("type") or ""
    folded = [" ".join(text.split()) for text in texts]
    return [kind, message.get("name") or "", folded, media, calls, *_rest(message, seen)]


def _rest(message: Mapping[str, Any], seen: set[str]) -> list[str]:
    """Return the digest of what a turn says besides, so that nothing in it is passed over; nothing for nothing."""
    rest = {name: value for name, value in message.items() if name not in seen and name not in _VOLATILE}
    rest = {name: value for name, value in rest.items() if not _is_empty(value)}
    return [digest_of(rest)] if rest else []


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | Sequence | Mapping) and not len(value))


def _call(call: Any) -> list[Any]:
    function = _mapping(_mapping(call).get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):  # arguments that are not JSON stand for themselves
            arguments = json.loads(arguments)
    return [function.get("name") or "", digest_of(arguments)]


def _listed(values: Any) -> Sequence[Any]:
    if values is None:
        return ()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise _BypassError(Bypass.UNKNOWN_PART)
    return values


def _parts(content: Any) -> tuple[list[str], list[Any]]:
    """Return the texts of a message's content and its media by digest, both in order."""
    if content is None:
        return [], []
    if isinstance(content, str):
        return ([content] if content.strip() else []), []
    if isinstance(content, Mapping) or not isinstance(content, Sequence) or isinstance(content, bytes):
        raise _BypassError(Bypass.UNKNOWN_PART)
    texts: list[str] = []
    media: list[Any] = []
    for part in content:
        _read_part(part, texts, media)
    return texts, media


def _read_part(part: Any, texts: list[str], media: list[Any]) -> None:
    if isinstance(part, str):
        texts.append(part)
        return
    part = _mapping(part)
    kind = part.get("type")
    if not isinstance(kind, str):
        raise _BypassError(Bypass.UNKNOWN_PART)
    if kind in _TEXT_PARTS and isinstance(part.get("text"), str):
        if part["text"].strip():
            texts.append(part["text"])
    elif kind in _MEDIA_PARTS:
        media.append([kind, len(texts), digest_of(part)])
    else:
        raise _BypassError(Bypass.UNKNOWN_PART)
