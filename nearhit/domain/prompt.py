"""Prompt: the canonical text of a question, and a digest of the conversation that changes its answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct

from nearhit.domain.conversation import Part, Reader, mapping_of
from nearhit.domain.entry import MAX_PROMPT_CHARS
from nearhit.domain.scope import digest_of
from nearhit.errors import ContractError, TooLargeError


class Bypass(StrEnum):
    """Why a prompt cannot be cached."""

    EMPTY = "bypass_empty"
    TOO_LONG = "bypass_too_long"
    TOO_LARGE = "bypass_too_large"
    NOT_TEXT = "bypass_not_text"
    NOT_UNICODE = "bypass_not_unicode"
    UNKNOWN_PART = "bypass_unknown_part"
    SCOPE = "bypass_scope"


class PromptText(Struct, frozen=True):
    """What a prompt asks, without who asks it.

    Attributes:
        text: the canonical text, see ``canonical_text``.
        context: digest of all else that the conversation says: the other messages and parts, in order; it belongs to
            the scope. Empty for a plain question.
    """

    text: str
    context: str = ""


class _BypassError(Exception):
    def __init__(self, reason: Bypass) -> None:
        super().__init__(reason.value)
        self.reason = reason


_MOST_CHARS = 2 * MAX_PROMPT_CHARS
"""A larger text is refused unread: removing invisible space would have to halve it."""

_TEXT = 0
"""Stands in the layout of a question for a part that is in its text."""


def read_prompt(prompt: Any) -> PromptText | Bypass:
    """Return the question that ``prompt`` asks, or the reason why it cannot be cached. Never raises.

    Args:
        prompt: a text, UTF-8 bytes, a chat's messages, or the ``input`` of the Responses API. A message is a mapping or
            a pydantic model with ``role`` and ``content``, the content a text or a list of parts.

    The text is that of the last user message. Everything else in the conversation goes into the context, so that the
    same words in another conversation are another question: other messages, images and files, tool calls with their
    results, and every field that is not known to be harmless.
    """
    try:
        if isinstance(prompt, str | bytes):
            return PromptText(canonical_text(prompt))
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
    """Return ``text`` in Unicode NFC, with line feeds as line ends, and without invisible space.

    Invisible are spaces at the end of a line and blank lines around the text. White space within a line stays, and so
    does indentation in a text of several lines: it carries meaning in code and in YAML.

    The caller sees a ``Bypass`` through ``read_prompt``.
    """
    if isinstance(text, bytes):
        if len(text) > 4 * _MOST_CHARS:
            raise _BypassError(Bypass.TOO_LONG)
        try:
            text = text.decode()
        except UnicodeDecodeError:
            raise _BypassError(Bypass.NOT_UNICODE) from None
    if len(text) > _MOST_CHARS:  # before the costly steps: a prompt of megabytes must cost nothing
        raise _BypassError(Bypass.TOO_LONG)
    text = text.replace("\0", " ").replace("\r\n", "\n").replace("\r", "\n")
    if " \n" in text or "\t\n" in text:
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    text = text.rstrip()
    shown = text.lstrip()
    if "\n" in shown:  # the indentation of the first line counts where there is a second one
        before = text[: len(text) - len(shown)]
        shown = before[before.rfind("\n") + 1 :] + shown
    if not shown:
        raise _BypassError(Bypass.EMPTY)
    if len(shown) <= MAX_PROMPT_CHARS and not shown.isascii():
        shown = _composed(shown)
    if len(shown) > MAX_PROMPT_CHARS:
        raise _BypassError(Bypass.TOO_LONG)
    return shown


def _composed(text: str) -> str:
    """Return ``text`` in NFC; one with more marks on a letter than any language has stays as it is.

    To put n marks into their order takes time in n squared: 16,000 of them took 0.3 s (Python 3.11).
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _BypassError(Bypass.NOT_UNICODE) from None
    if len(text) > _FEW_CHARS:
        shown = text.translate(_MARKS_OF_TWO) if any(map(text.__contains__, _MARKS)) else text
        if _MANY_MARKS.search(bytes(map(unicodedata.combining, shown))):
            return text
    return unicodedata.normalize("NFC", text)


_FEW_CHARS = 200
_MANY_MARKS = re.compile(rb"[^\0]{31}")
"""Unicode's stream-safe format allows 30 in a row (UAX 15)."""

_MARKS = "\u0f73\u0f75\u0f81"
"""These three are no marks by their own class, and are taken apart into two."""

_MARKS_OF_TWO = dict.fromkeys(map(ord, _MARKS), 0x0F71)


def _read_messages(prompt: Any) -> PromptText:
    if isinstance(prompt, Mapping) or not isinstance(prompt, Sequence):
        raise _BypassError(Bypass.NOT_TEXT)
    if type(prompt) is list and len(prompt) == 1 and type(only := prompt[0]) is dict:
        content = only.get("content")  # most questions: nothing else is there that could change the answer
        if len(only) == 2 and only.get("role") == "user" and isinstance(content, str):
            return PromptText(canonical_text(content))
    reader = Reader()
    messages = list(map(mapping_of, reader.take(prompt)))
    asked = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=None)
    if asked is None:
        raise _BypassError(Bypass.NOT_TEXT if messages else Bypass.EMPTY)
    reader.number_calls(messages)
    parts = reader.parts(messages[asked].get("content"))
    texts = [part.text for part in parts if part.text is not None]
    if not any(text.strip() for text in texts):
        raise _BypassError(Bypass.NOT_TEXT if len(texts) < len(parts) else Bypass.EMPTY)
    if sum(map(len, texts)) > _MOST_CHARS:
        raise _BypassError(Bypass.TOO_LONG)
    said = [
        [reader.turn(message) for message in messages[:asked]],
        layout(parts),
        [reader.turn(message) for message in messages[asked + 1 :]],
        reader.turn({name: value for name, value in messages[asked].items() if name not in {"role", "content"}}),
    ]
    return PromptText(canonical_text("\n".join(texts)), digest_of(said) if any(said) else "")


def layout(parts: list[Part]) -> list[Any]:
    """Return what the question's parts are besides their text; nothing for one text alone.

    Where media stand between texts, it matters which words stand on which side: the texts are then a part of it, so
    that such a question is found in the very same words only.
    """
    kinds = "".join("t" if part.text is not None else "m" for part in parts)
    found: list[Any] = [part.rest or _TEXT for part in parts]
    if re.search("tm+t", kinds):
        found.append([part.text for part in parts])
    return [] if found == [_TEXT] else found
