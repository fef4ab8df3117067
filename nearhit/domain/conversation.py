"""Conversation: the parts of a conversation that change an answer, in a form that can be digested. Pure.

Everything counts that is not known to be harmless: an unknown field changes the digest, it is never dropped. What may
differ between two conversations that share answers is written down in ``tests/support/conversations.py``, and held by
``tests/unit/domain/test_conversations.py``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nearhit.errors import ContractError, TooLargeError

TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
MEDIA_PARTS = frozenset(
    {
        *("image_url", "input_image", "image", "input_audio", "audio"),
        *("file", "input_file", "video_url", "document"),
    }
)

_WHOLE = frozenset({None, "message", *("function_call", "custom_tool_call")}) | {
    *("function_call_output", "custom_tool_call_output"),
}
"""Types of messages and items that hold all that they say. Others may stand for what the provider keeps under their
``id``, as reasoning items do, so that it counts there."""

_CALLS = ("tool_calls", "invalid_tool_calls", "provider_tool_calls")
"""Fields that hold calls; the last one is what ``langchain`` makes of ``additional_kwargs``."""

_OF_A_TEXT = frozenset({"type", "text", "id"})
"""Fields of a text part that are its text, or say nothing: the kinds are one, and nothing names its id."""

MAX_FIELDS = 3_000
"""How many messages, fields, parts and calls of one conversation are read: about 5 ms of CPU on one core of 2020."""

_MAX_PARSED_CHARS = 8_192
"""How much of a conversation's call arguments is parsed, so that the order of their keys does not count."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message's content.

    Attributes:
        text: what a text part says; ``None`` for media.
        rest: all fields of media; of a text part those that say something besides.
    """

    text: str | None
    rest: Mapping[str, Any]


@dataclass(slots=True)
class Reader:
    """Reads the messages of one conversation.

    Attributes:
        numbers: by id, the order in which calls appear: ids differ from run to run, what they tie together does not.
            Only ids that stand in two places are in it; one that nothing else names says nothing.
    """

    numbers: dict[Any, int] = field(default_factory=dict)
    _fields: int = MAX_FIELDS
    _parsed: int = _MAX_PARSED_CHARS

    def take(self, values: Any) -> Any:
        """Return the items of a list or a mapping, up to the limit of a digest.

        Raises:
            TooLargeError: the conversation has more than that.
        """
        if type(values) not in {dict, list, tuple}:
            return map(self._counted, values)
        return self._counted(values, len(values))

    def _counted(self, values: Any, count: int = 1) -> Any:
        self._fields -= count
        if self._fields < 0:
            raise TooLargeError(f"the conversation has more than {MAX_FIELDS} messages, fields and parts")
        return values

    def number_calls(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Give a number to every id that stands in two places, in the order of their first places."""
        counts: Counter[Any] = Counter()
        for message in messages:
            if is_plain(message):
                continue
            ids = [message.get(name) for name in ("id", "call_id", "tool_call_id")]
            for name in _CALLS:
                ids += [mapping_of(call).get("id") for call in self.take(listed(message.get(name)))]
            counts.update(_id(one) for one in ids if not _is_empty(one))
        tied = [value for value, count in counts.items() if count > 1]
        self.numbers = {value: number for number, value in enumerate(tied)}

    def turn(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a message says.

        Raises:
            ContractError: a part of it is unknown, or is kept by the provider.
        """
        if is_plain(message):
            return message
        kind = message.get("type")
        if kind == "item_reference":
            raise ContractError("an item refers to state that the provider keeps")
        whole = (kind is None or isinstance(kind, str)) and kind in _WHOLE
        said: dict[str, Any] = {}
        for name in self.take(message):
            value = message[name]
            if _is_empty(value) or _is_harmless(name, value):
                continue
            if name == "content":
                said[name] = self._content(value)
            elif name in _CALLS:
                said[name] = [self._call(call) for call in self.take(listed(value))]
            elif name in {"call_id", "tool_call_id"} or (name == "id" and whole):
                self._add_number(said, name, value)
            elif name == "function_call":
                said[name] = self._function(value)
            else:
                said[name] = self._arguments(value) if name == "arguments" else value
        return said

    def parts(self, content: Any) -> list[Part]:
        """Return the parts of a message's content in order, without empty texts.

        Raises:
            ContractError: a part is unknown.
        """
        if content is None or isinstance(content, str):
            return [Part(content, {})] if content else []
        if isinstance(content, Mapping | bytes) or not isinstance(content, Sequence):
            raise ContractError(f"the content of a message is {type(content).__name__}")
        found = [self._part(part) for part in self.take(content)]
        return [part for part in found if part.text != "" or part.rest]

    def _part(self, part: Any) -> Part:
        if isinstance(part, str):
            return Part(part, {})
        part = mapping_of(part)
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in TEXT_PARTS | MEDIA_PARTS:
            raise ContractError("a part of a message is of an unknown type")
        if kind in MEDIA_PARTS:
            return Part(None, {name: part[name] for name in self.take(part) if name != "cache_control"})
        text = part.get("text")
        if not isinstance(text, str):
            raise ContractError("a text part of a message has no text")
        rest = {
            name: part[name]
            for name in self.take(part)
            if name not in _OF_A_TEXT and not _is_empty(part[name]) and not _is_harmless(name, part[name])
        }
        return Part(text, rest)

    def _content(self, value: Any) -> Any:
        """Return content in order; a text alone is what it is as a list of one part."""
        said = [
            part.rest if part.text is None else [part.text, part.rest] if part.rest else part.text
            for part in self.parts(value)
        ]
        return said[0] if len(said) == 1 and isinstance(said[0], str) else said

    def _call(self, call: Any) -> dict[str, Any]:
        said: dict[str, Any] = {}
        call = mapping_of(call)
        for name in self.take(call):
            value = call[name]
            if _is_empty(value):
                continue
            if name == "id":
                self._add_number(said, name, value)
            else:
                said[name] = self._function(value) if name == "function" else value
        return said

    def _function(self, function: Any) -> dict[str, Any]:
        said = {name: value for name, value in mapping_of(function).items() if not _is_empty(value)}
        if "arguments" in said:
            said["arguments"] = self._arguments(said["arguments"])
        return said

    def _arguments(self, arguments: Any) -> Any:
        """Return the arguments of a call; of a JSON object the order of keys and white space do not count."""
        if not isinstance(arguments, str) or len(arguments) > self._parsed:
            return arguments
        self._parsed -= len(arguments)
        try:
            parsed = _STRICT.decode(arguments)
        except (ValueError, RecursionError):  # what is no JSON, or loses something when it is read, stands for itself
            return arguments
        return parsed if isinstance(parsed, dict) else arguments

    def _add_number(self, said: dict[str, Any], name: str, value: Any) -> None:
        if (number := self.numbers.get(_id(value))) is not None:
            said[name] = number


def is_plain(message: Mapping[str, Any]) -> bool:
    """Return whether a message is a role and a text, as most are: there is nothing in it to be read."""
    return len(message) == 2 and "role" in message and type(message.get("content")) is str and message["content"] != ""


def mapping_of(message: Any) -> Mapping[str, Any]:
    """Return a message, a part or a call as a mapping; a pydantic model as what it dumps.

    Raises:
        ContractError: it is something else.
    """
    if type(message) is dict or isinstance(message, Mapping):
        return message
    dump = getattr(message, "model_dump", None)
    if callable(dump) and not isinstance(message, type):
        dumped = dump()
        if isinstance(dumped, Mapping):
            return dumped
    raise ContractError(f"a part of a conversation is {type(message).__name__}")


def listed(values: Any) -> Sequence[Any]:
    """Return a list of calls; an empty one for ``None``.

    Raises:
        ContractError: it is something else.
    """
    if values is None:
        return ()
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise ContractError(f"calls of a message are {type(values).__name__}")
    return values


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | Sequence | Mapping) and not len(value))


def _is_harmless(name: str, value: Any) -> bool:
    """Return whether a field steers the provider's own cache, or says what its absence says, too."""
    return name == "cache_control" or (name, value) in (("type", "message"), ("status", "completed"))


def _id(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ContractError(f"an id of a conversation is {type(value).__name__}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _number(text: str) -> float:
    value = float(text)
    if repr(value) != text:  # neither is NaN, as Python writes it
        raise ValueError("the number changes when it is parsed")
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_number)
"""Reads JSON only where nothing that it says is lost."""
