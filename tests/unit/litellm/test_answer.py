"""Which responses may be cached, and what they cost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nearhit.domain.entry import Usage
from nearhit.errors import EntryError
from nearhit.litellm.answer import as_chat, as_text, calls_tools, parse_response, read_answer, usage_of

CALL = {"id": "c", "type": "function", "function": {"name": "restore", "arguments": '{"id": 7}'}}
PRICES = {"gpt-4o-mini": {"input_cost_per_token": 0.5, "output_cost_per_token": 2.0}}


def chat(finish: Any = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": "yes", **message}
    return {"id": "x", "object": "chat.completion", "choices": [{"finish_reason": finish, "message": said}]}


def text(said: str, finish: str = "stop") -> dict[str, Any]:
    return {"object": "text_completion", "choices": [{"finish_reason": finish, "text": said, "index": 0}]}


def response(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": "completed", "output": list(output), **more}


def said(words: str) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": words}]}


@pytest.mark.parametrize(
    "answer",
    [
        chat(),
        chat("tool_calls", content=None, tool_calls=[CALL]),
        chat("function_call", content=None, function_call=CALL["function"]),
        text("yes"),
        response(said("yes")),
        response({"type": "function_call", "name": "restore", "arguments": "{}"}),
        response({"type": "reasoning", "content": None}, said("yes")),
    ],
)
def test_a_whole_answer_is_kept_as_it_is(answer: dict[str, Any]) -> None:
    assert read_answer(json.dumps(answer)) == answer


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (chat("length"), "partial"),
        (chat("content_filter"), "partial"),
        (chat(None), "partial"),
        (chat(content=None), "empty"),
        (chat(content="  "), "empty"),
        ({"choices": []}, "partial"),
        ({"choices": None}, "partial"),
        ({"choices": ["x"]}, "partial"),
        (text(""), "empty"),
        (text("  "), "empty"),
        (response(), "empty"),
        (response(said("  ")), "empty"),
        (response(said("yes"), status="in_progress"), "partial"),
        (response(said("yes"), status="incomplete"), "partial"),
        (response(said("yes"), incomplete_details={"reason": "max_output_tokens"}), "partial"),
        ({"error": {"message": "no"}}, "error"),
        ({"detail": "no"}, "error"),
        ({"data": []}, "neither"),
        ("not json", "not JSON"),
        ([1], "list"),
        (None, "NoneType"),
    ],
)
def test_what_is_partial_empty_or_an_error_is_refused_with_the_reason(result: Any, why: str) -> None:
    with pytest.raises(EntryError, match=why):
        read_answer(result)


def test_one_partial_choice_makes_the_answer_partial() -> None:
    answer = chat()
    answer["choices"] += chat("length")["choices"]
    with pytest.raises(EntryError, match="partial"):
        read_answer(answer)


@pytest.mark.parametrize(
    ("answer", "calls"),
    [
        (chat(), False),
        (chat("tool_calls", tool_calls=[CALL]), True),
        (chat("function_call", function_call={"name": "f"}), True),
        (response(said("yes")), False),
        (response({"type": "function_call", "name": "f"}), True),
        (response({"type": "computer_call"}), True),
        ("text", False),
        (None, False),
    ],
)
def test_an_answer_that_calls_tools_is_known(answer: Any, calls: bool) -> None:
    assert calls_tools(answer) is calls


def test_usage_is_priced_by_the_map() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3}
    found = usage_of({**chat(), "usage": usage, "model": "gpt-4o-mini-2024"}, "openai/gpt-4o-mini", PRICES)
    assert found == Usage(10, 3, 11.0, "openai/gpt-4o-mini")


def test_usage_of_the_responses_api_is_read_by_its_own_names() -> None:
    answer = response(said("yes"), usage={"input_tokens": 4, "output_tokens": 1}, model="gpt-4o-mini")
    assert usage_of(answer, "", PRICES) == Usage(4, 1, 4.0, "gpt-4o-mini")


@pytest.mark.parametrize("usage", [None, {}, "x", {"prompt_tokens": None}, {"prompt_tokens": -1}])
def test_a_response_without_usage_has_none(usage: Any) -> None:
    assert usage_of({**chat(), "usage": usage}, "openai/gpt-4o-mini", PRICES) is None


def test_an_unknown_model_saves_tokens_and_no_dollars() -> None:
    found = usage_of({**chat(), "usage": {"prompt_tokens": 10, "completion_tokens": 3}}, "own/model", PRICES)
    assert found == Usage(10, 3, 0.0, "own/model")


def test_a_text_completion_turns_into_a_chat_and_back() -> None:
    answer = text("yes")
    assert as_text(as_chat(answer)) == answer
    assert as_chat(answer)["choices"][0]["message"] == {"role": "assistant", "content": "yes"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_response_with_a_number_that_is_not_finite_is_no_json(number: str) -> None:
    with pytest.raises(EntryError, match="not JSON"):
        parse_response(f'{{"choices": [], "score": {number}}}')
