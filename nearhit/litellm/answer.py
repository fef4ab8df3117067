"""Answer: which responses may be cached, whether they call tools, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nearhit.domain.entry import Usage, strict_json
from nearhit.errors import EntryError

_WHOLE = frozenset({"stop", "tool_calls", "function_call"})
"""Finish reasons of a whole answer; all others (``length``, ``content_filter``, none yet) leave it partial."""


def read_answer(result: Any) -> dict[str, Any]:
    """Return a response as plain JSON, when it is a whole answer that a later caller would expect.

    Args:
        result: what LiteLLM hands over: a pydantic model, its JSON, or a mapping.

    Raises:
        EntryError: it is an error, partial, empty, or no response at all; the message says which.
    """
    answer = parse_response(result)
    if answer.get("error") or "detail" in answer:
        raise EntryError("the response is an error")
    if "choices" in answer:
        for choice in answer["choices"] or [None]:
            _check_choice(choice)
    elif "output" in answer:
        _check_output(answer)
    else:
        raise EntryError("the response has neither choices nor output")
    return answer


def as_text(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a chat answer in the form of a text completion; LiteLLM puts streamed ones together as chats."""
    choices = [
        {**_without(choice, "message"), "text": choice["message"].get("content") or ""}
        if isinstance(choice.get("message"), Mapping)
        else choice
        for choice in answer.get("choices") or ()
    ]
    return {**answer, "object": "text_completion", "choices": choices}


def as_chat(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a text completion in the form of a chat answer, for LiteLLM's replay of streams."""
    choices = [
        {**_without(choice, "text"), "message": {"role": "assistant", "content": choice.get("text") or ""}}
        for choice in answer.get("choices") or ()
    ]
    return {**answer, "object": "chat.completion", "choices": choices}


def calls_tools(answer: Any) -> bool:
    """Return whether an answer asks its caller to do something: tool calls and their like."""
    if not isinstance(answer, Mapping):
        return False
    for choice in answer.get("choices") or ():
        message = choice.get("message") or {}
        if message.get("tool_calls") or message.get("function_call"):
            return True
    return any(str(item.get("type", "")).endswith("_call") for item in answer.get("output") or ())


def usage_of(answer: Mapping[str, Any], model: str, prices: Mapping[str, Any]) -> Usage | None:
    """Return what a response cost, by the usage that it reports; ``None`` where it reports none.

    Args:
        answer: a response.
        model: the model as the caller named it, for example ``openai/gpt-4o-mini``.
        prices: LiteLLM's price map: by model, dollars a token.
    """
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return None
    read = _number(usage.get("prompt_tokens", usage.get("input_tokens")))
    written = _number(usage.get("completion_tokens", usage.get("output_tokens")))
    if not read and not written:
        return None
    answered = str(answer.get("model") or "")
    names = (model, model.partition("/")[2], answered)
    price: Mapping[str, Any] = next(
        (prices[name] for name in names if name and isinstance(prices.get(name), Mapping)), {}
    )
    dollars = read * _price(price, "input_cost_per_token") + written * _price(price, "output_cost_per_token")
    return Usage(read, written, dollars, model or answered)


def parse_response(result: Any) -> dict[str, Any]:
    """Return a response as plain JSON, whatever it says.

    Raises:
        EntryError: it is no JSON object.
    """
    dump = getattr(result, "model_dump", None)
    if callable(dump):
        result = dump(mode="json")
    if isinstance(result, str | bytes):
        try:
            result = strict_json(result if isinstance(result, str) else result.decode())
        except (ValueError, RecursionError):
            raise EntryError("the response is not JSON") from None
    if not isinstance(result, dict):
        raise EntryError(f"the response is {type(result).__name__}, not a JSON object")
    return result


def _check_choice(choice: Any) -> None:
    if not isinstance(choice, Mapping) or choice.get("finish_reason") not in _WHOLE:
        reason = choice.get("finish_reason") if isinstance(choice, Mapping) else None
        raise EntryError(f"the answer is partial: it ended with {reason!r}")
    message = choice.get("message")
    said = message if isinstance(message, Mapping) else choice
    if not any(said.get(part) for part in ("content", "text", "tool_calls", "function_call", "audio", "images")):
        raise EntryError("the answer is empty")
    content = said.get("content", said.get("text"))
    only_text = not any(said.get(part) for part in ("tool_calls", "function_call", "audio", "images"))
    if only_text and isinstance(content, str) and not content.strip():
        raise EntryError("the answer is empty")


def _check_output(answer: Mapping[str, Any]) -> None:
    if answer.get("status") not in {"completed", None} or answer.get("incomplete_details"):
        raise EntryError(f"the answer is partial: its status is {answer.get('status')!r}")
    items = [item for item in answer["output"] or () if isinstance(item, Mapping)]
    parts = [part for item in items for part in item.get("content") or () if isinstance(part, Mapping)]
    texts = [part.get("text") or "" for part in parts]
    if not "".join(map(str, texts)).strip() and not calls_tools(answer):
        raise EntryError("the answer is empty")


def _without(choice: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in choice.items() if key != name}


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0


def _price(price: Mapping[str, Any], name: str) -> float:
    value = price.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
