"""Request: the message that asks for a verification. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, convert, msgpack, structs

from nearhit.domain.fill_message import refuse_newer
from nearhit.errors import ContractError, MessageError

if TYPE_CHECKING:
    from nearhit.domain.scope import Scope

LANE = "verify"
VERSION = 1

MAX_BYTES = 131_072
"""Length of the longest request; a hit on a longer conversation is not verified."""

_SAMPLING = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "reasoning_effort")
"""Parameters of a call that are given to the model again; others either say who asks, or change the kind of answer."""

_UNLIKE = ("tools", "functions", "\0function")
"""Parameters with which an answer is no text, or no model's: with them a hit cannot be asked again."""


class VerificationRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A semantic hit that is to be verified.

    Attributes:
        recipe: arguments of ``litellm.completion`` that ask what the caller asked.
        question: canonical text of what the caller asked.
        cached_question: canonical text of the question that was answered.
        cached_answer: the answer that was served, as JSON.
        similarity: of the two questions.
        threshold: by which the hit was judged.
        origin: where that came from: ``settings``, or the field of an entry.
        since_ms: when that entry was set; 0 for the setting.
        scope: digest of the scope.
        tenant: digest of the tenant; empty for none.
    """

    recipe: dict[str, Any]
    question: str
    cached_question: str
    cached_answer: bytes
    similarity: float
    threshold: float
    origin: str
    since_ms: int
    scope: str
    tenant: str = ""


def encode(request: VerificationRequest) -> bytes:
    """Return the message of a request.

    Raises:
        MessageError: it is longer than ``MAX_BYTES``, or something in it has no place in a message.
    """
    try:
        blob = msgpack.encode({"v": VERSION, **structs.asdict(request), "recipe": json.dumps(request.recipe)})
    except (TypeError, ValueError) as error:
        raise MessageError(f"the verification of a hit cannot be written: {error}") from error
    if len(blob) > MAX_BYTES:
        raise MessageError(f"the verification of a hit takes {len(blob)} bytes, more than {MAX_BYTES}")
    return blob


def decode(blob: bytes) -> VerificationRequest:
    """Return the request of a message.

    Raises:
        MessageError: it is something else.
    """
    try:
        row = msgpack.decode(blob, type=dict[str, Any])
        if row.pop("v") != VERSION:
            refuse_newer(blob, VERSION)
            raise MessageError(f"the verification of {len(blob)} bytes has another version than {VERSION}")
        return convert({**row, "recipe": json.loads(row["recipe"])}, VerificationRequest)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MessageError(f"the verification of {len(blob)} bytes cannot be read: {error}") from error


def recipe_of(prompt: Any, scope: Scope, model: str = "") -> dict[str, Any]:
    """Return the arguments with which a model is asked again what ``prompt`` asks in ``scope``.

    Args:
        prompt: as lookups take it.
        scope: names the model, the system prompt and the parameters.
        model: instead of the scope's.

    Raises:
        ContractError: no model is named, or the answer would be no text: a call with tools, a cached function, items of
            the Responses API, a response format that is a class.
    """
    answering = model or scope.model
    if not answering:
        raise ContractError("neither verify_model nor the scope names a model")
    parameters = scope.parameters
    if scope.tools or any(parameters.get(name) for name in _UNLIKE):
        raise ContractError("an answer of tools or of a function cannot be asked for again")
    recipe = {name: parameters[name] for name in _SAMPLING if parameters.get(name) is not None}
    shape = scope.response_format or parameters.get("response_format")
    if shape is not None:
        if not isinstance(shape, Mapping):
            raise ContractError(f"a response format of type {type(shape).__name__} cannot be sent")
        recipe["response_format"] = dict(shape)
    system = [{"role": "system", "content": scope.system}] if scope.system else []
    if isinstance(prompt, str | bytes):
        text = prompt if isinstance(prompt, str) else prompt.decode(errors="replace")
        messages = [{"role": "user", "content": text}]
    else:
        messages = [_message(one) for one in prompt]
    return {"model": answering, "messages": [*system, *messages], **recipe}


def _message(message: Any) -> dict[str, Any]:
    dump = getattr(message, "model_dump", None)
    row = dict(message) if isinstance(message, Mapping) else dump(exclude_none=True) if callable(dump) else {}
    content = row.get("content")
    parts = content if isinstance(content, Sequence) and not isinstance(content, str) else []
    kinds = {str(part.get("type")) for part in parts if isinstance(part, Mapping)}
    if not isinstance(row.get("role"), str) or any(kind.startswith(("input_", "output_")) for kind in kinds):
        raise ContractError("the items of a Responses call cannot be asked for again")
    return row
