"""Prompt: the canonical text of a question, and what of the conversation around it changes the answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nearhit.conversation import Part, Reader, mapping_of
from nearhit.entry import MAX_PROMPT_CHARS
from nearhit.errors import ContractError, TooLargeError
from nearhit.scope import digest_of


class Bypass(StrEnum):
    """Why a prompt cannot be cached."""

    EMPTY = "bypass_empty"
    TOO_LONG = "bypass_too_long"
    TOO_LARGE = "bypass_too_large"
    NOT_TEXT = "bypass_not_text"
    NOT_UNICODE = "bypass_not_unicode"
    UNKNOWN_PART = "bypass_unknown_part"
    SCOPE = "bypass_scope"


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the cache sees it.

    Attributes:
        text: the canonical text: Unicode NFC, white space folded.
        context: digest of all else that the conversation says: the other messages and parts, in order; it belongs to
            the scope. Empty for a plain question.
    """

    text: str
    context: str = ""


class _BypassError(Exception):
    def __init__(self, reason: Bypass) -> None:
        super().__init__(reason.value)
        self.reason = reason


_USER = {"role": "user"}.items()

_TEXT = 0
"""Stands in the layout of a question for a part that is in its text."""


def read_prompt(prompt: Any) -> Question | Bypass:
    """Return the question that ``prompt`` asks, or the reason why it cannot be cached. Never raises.

    Args:
        prompt: a text, UTF-8 bytes, a chat's messages, or the ``input`` of the Responses API. A message is a mapping or
            a pydantic model with ``role`` and ``content``, the content a text or a list of parts.

    The text is that of the last user message. All else that the conversation says goes into the context, so that the
    same words in another conversation are another question: every other message, every image and file, every call of a
    tool with its result, every field that is not known to be harmless.
    """
    try:
        if isinstance(prompt, str | bytes):
            return Question(canonical_text(prompt))
        return _read_messages(prompt)
    except _BypassError as bypass:
        return bypass.reason
    except TooLargeError:
        return Bypass.TOO_LARGE
    except ContractError:
        return Bypass.UNKNOWN_PART
    except Exception:  # noqa: BLE001 - the methods of a caller's own objects raise whatever they like
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
    reader = Reader()
    messages = list(map(mapping_of, reader.take(prompt)))
    if len(messages) == 1 and messages[0].items() >= _USER and len(messages[0]) == 2:
        content = messages[0].get("content")
        if isinstance(content, str):  # most questions: nothing else is there that could change the answer
            return Question(canonical_text(content))
    asked = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=None)
    if asked is None:
        raise _BypassError(Bypass.NOT_TEXT if messages else Bypass.EMPTY)
    reader.number_calls(messages)
    parts = reader.parts(messages[asked].get("content"))
    text = _text_of(parts)
    said = [
        [reader.turn(message) for message in messages[:asked]],
        _layout(parts),
        [reader.turn(message) for message in messages[asked + 1 :]],
        reader.turn({name: value for name, value in messages[asked].items() if name not in {"role", "content"}}),
    ]
    return Question(text, digest_of(said) if any(said) else "")


def _text_of(parts: list[Part]) -> str:
    texts = [part.text for part in parts if part.text is not None]
    if not any(text.strip() for text in texts):
        raise _BypassError(Bypass.NOT_TEXT if len(texts) < len(parts) else Bypass.EMPTY)
    return canonical_text("\n".join(texts))


def _layout(parts: list[Part]) -> list[Any]:
    """Return what the question's parts are besides their text; nothing for one text alone.

    Where media stand between texts, it matters which words stand on which side: the texts are then a part of it, so
    that such a question is found in the very same words only.
    """
    kinds = "".join("t" if part.text is not None else "m" for part in parts)
    between = re.search("tm+t", kinds) is not None
    layout: list[Any] = [part.rest or _TEXT for part in parts]
    if between:
        layout.append([part.text for part in parts])
    return [] if layout == [_TEXT] else layout
