"""Any change of any leaf of a conversation makes it another one, but for those on a written list."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearhit.domain.question import Question, read_question
from nearhit.litellm.request import Reading, read_request
from tests.support.conversations import (
    VALUE,
    another,
    chats,
    langchain_may_change,
    langchain_rows,
    leaves,
    mappings,
    may_change,
    responses,
    with_field,
    with_value,
)

LACKING = pytest.mark.skipif(not importlib.util.find_spec("langchain_core"), reason="langchain-core is not installed")
THOROUGH = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

Read = Any


def state(prompt: Any, scope: Any = None) -> Any:
    """Return what a lookup goes by: text and scope, or why there is none."""
    query = read_question(prompt, scope)
    return (query.text, query.scope) if isinstance(query, Question) else query.reason


def check_every_leaf(whole: Any, read: Any, harmless: Any) -> None:
    before = read(whole)
    assert isinstance(before, tuple), before
    for path, value in leaves(whole):
        changed = read(with_value(whole, path, another))
        assert (changed == before) == harmless(path, whole), (path, value)


def check_new_fields(whole: Any, read: Any, harmless: Any) -> None:
    before = read(whole)
    for path in mappings(whole):
        if path and not harmless((*path, "brand_new"), whole):
            assert read(with_field(whole, path, "brand_new", "z")) != before, path


@given(chats())
@THOROUGH
def test_any_leaf_of_a_chat_counts(messages: Any) -> None:
    check_every_leaf(messages, state, may_change)


@given(responses())
@THOROUGH
def test_any_leaf_of_a_responses_call_counts(items: Any) -> None:
    check_every_leaf(items, state, may_change)


@given(chats() | responses())
@THOROUGH
def test_a_field_that_nobody_knows_counts_wherever_it_stands(messages: Any) -> None:
    check_new_fields(messages, state, may_change)


def langchain_state(rows: Any) -> Any:
    from nearhit.langchain import read_chat

    return state(read_chat(json.dumps(rows)))


@LACKING
@given(langchain_rows())
@THOROUGH
def test_any_leaf_of_langchains_messages_counts(rows: Any) -> None:
    check_every_leaf(rows, langchain_state, langchain_may_change)
    kwargs = [(at, "kwargs") for at in range(len(rows))]
    before = langchain_state(rows)
    for path in kwargs:
        assert langchain_state(with_field(rows, path, "brand_new", "z")) != before


READING = Reading(owned=frozenset({"litellm_call_id", "ttl"}))
HARMLESS_PARAMETERS = frozenset(
    {
        *(
            "user",
            "seed",
            "stream",
            "api_key",
            "timeout",
            "max_retries",
            "litellm_call_id",
            "safety_identifier",
            "store",
        ),
        *("metadata", "cache"),
    }
)
"""Of LiteLLM's parameters: who asks and how, but not what; ``metadata`` and ``cache`` count by single fields."""


def litellm_state(call: Any) -> Any:
    request = read_request(call, READING)
    return state(request.question, request.scope)


def litellm_may_change(path: Any, call: Any) -> bool:
    name = path[0]
    if name in {"messages", "input"}:
        return may_change(path[1:], call[name])
    if name == "metadata":
        return path[1] not in {"user_api_key", "user_api_key_team_id", "user_api_key_org_id", "model_group"}
    if name == "cache":
        return bool(path[1] != "namespace")
    return name in HARMLESS_PARAMETERS


CALLS = st.fixed_dictionaries(
    {"model": st.just("openai/m"), "temperature": st.just(0.5)},
    optional={
        "tools": st.lists(
            VALUE.map(lambda value: {"type": "function", "function": {"name": "f", "parameters": value}}),
            min_size=1,
            max_size=2,
        ),
        "response_format": st.just({"type": "json_object"}),
        "additional_drop_params": st.just(["top_p"]),
        "extra_body": st.just({"a": {"b": 1}}),
        "x_new": VALUE.filter(lambda value: value is not None),
        "api_base": st.just("http://h/v1"),
        "user": st.just("u"),
        "seed": st.just(1),
        "stream": st.just(True),
        "api_key": st.just("k"),
        "timeout": st.just(3),
        "safety_identifier": st.just("s"),
        "store": st.just(True),
        "litellm_call_id": st.just("x"),
        "metadata": st.just({"user_api_key": "k", "user_api_key_team_id": "t", "trace": "x"}),
        "cache": st.just({"namespace": "a", "ttl": 5}),
    },
)


@given(CALLS, st.tuples(st.just("messages"), chats()) | st.tuples(st.just("input"), responses()))
@THOROUGH
def test_any_leaf_of_a_litellm_call_counts(call: dict[str, Any], asked: tuple[str, Any]) -> None:
    whole = {**call, asked[0]: asked[1]}
    if isinstance(litellm_state(whole), tuple):  # items that refer to what the provider keeps are left alone
        check_every_leaf(whole, litellm_state, litellm_may_change)
