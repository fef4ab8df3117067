"""What of a LiteLLM call is its question and its scope."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.outcome import Miss, MissReason
from nearhit.domain.question import read_question
from nearhit.litellm.options import Options
from nearhit.litellm.request import Reading, read_request
from nearhit.litellm.shared import read_shared

READING = Reading(
    owned=frozenset(
        {"litellm_call_id", "litellm_logging_obj", "mock_response", "api_base", "ttl", "supports_system_message"}
    )
)
TURN = {"role": "user", "content": "what is the limit?"}
BASE: dict[str, Any] = {"model": "openai/gpt-4o-mini", "messages": [TURN], "temperature": 0.5}


def scope_of(reading: Reading = READING, **changes: Any) -> str:
    request = read_request({**BASE, **changes}, reading)
    query = read_question(request.question, request.scope)
    assert not isinstance(query, Miss), query
    return query.scope


def reason_of(**changes: Any) -> MissReason:
    request = read_request({**BASE, **changes}, READING)
    query = read_question(request.question, request.scope)
    assert isinstance(query, Miss), query
    return query.reason


def with_part(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, part]}]


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def tool_turns(arguments: str) -> list[dict[str, Any]]:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return [TURN, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "ok"}]


@given(st.permutations([("temperature", 0.5), ("max_tokens", 5), ("stop", ["a"]), ("top_k", 3), ("model", "m")]))
def test_the_order_of_parameters_never_matters(pairs: list[tuple[str, Any]]) -> None:
    first = read_request(dict([*pairs, ("messages", [TURN])]), READING)
    second = read_request({"messages": [TURN], **dict(sorted(pairs))}, READING)
    assert read_question(first.question, first.scope) == read_question(second.question, second.scope)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "openai/gpt-4o"},
        {"temperature": 0.6},
        {"max_tokens": 5},
        {"top_k": 3},
        {"tools": [{"type": "function", "function": {"name": "look"}}]},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
        {"extra_body": {"a": 1}},
        {"additional_drop_params": ["temperature"]},
        {"supports_system_message": False},
        {"mock_response": "x"},
        {"api_base": "http://127.0.0.1:1/v1"},
        {"messages": [{"role": "system", "content": "be brief"}, TURN]},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, TURN]},
        {"cache": {"namespace": "a"}},
        {"metadata": {"redis_namespace": "a"}},
        {"metadata": {"user_api_key": "k1"}},
        {"metadata": {"user_api_key_team_id": "k1"}},
        {"litellm_metadata": {"user_api_key_org_id": "k1"}},
        {"litellm_params": {"metadata": {"user_api_key_end_user_id": "k1"}}},
        {"metadata": {"model_group": "fast"}},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_what_changes_an_answer_or_its_owner_separates(changes: dict[str, Any]) -> None:
    assert scope_of(**changes) != scope_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"user": "u1"},
        {"seed": 3},
        {"stream": True},
        {"stream_options": {"include_usage": True}},
        {"litellm_call_id": "1"},
        {"litellm_logging_obj": object()},
        {"api_key": "sk-1"},
        {"timeout": 3},
        {"metadata": {"trace": "1"}},
        {"temperature": 0.50},
        {"n": None},
        {"cache": {"ttl": 5}},
        {"safety_identifier": "u1"},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_what_leaves_an_answer_alone_does_not_separate(changes: dict[str, Any]) -> None:
    assert scope_of(**changes) == scope_of()


@pytest.mark.parametrize("name", ["user", "seed", "stream"])
def test_user_seed_and_stream_separate_when_asked(name: str) -> None:
    reading = Reading(split_by=frozenset({name}))
    assert scope_of(reading, **{name: 1}) != scope_of(reading, **{name: 2})


def test_the_tenant_is_what_the_fields_say() -> None:
    team = Reading(tenant_fields=("user_api_key_team_id",))
    keys = [{"user_api_key": key, "user_api_key_team_id": "t"} for key in ("k1", "k2")]
    assert scope_of(team, metadata=keys[0]) == scope_of(team, metadata=keys[1])
    assert scope_of(metadata=keys[0]) != scope_of(metadata=keys[1])


def test_two_tenants_cannot_be_mistaken_for_one_another() -> None:
    one = {"user_api_key": "a", "user_api_key_team_id": "b"}
    other = {"user_api_key": "a\0user_api_key_team_id=b"}
    assert scope_of(metadata=one) != scope_of(metadata=other)


def test_the_same_caption_with_another_picture_is_another_question() -> None:
    first, second = (scope_of(messages=with_part(image(url))) for url in ("data:image/png;base64,AA", "data:,BB"))
    assert first != second


def test_the_arguments_of_earlier_tool_calls_belong_to_the_scope() -> None:
    assert scope_of(messages=tool_turns('{"a": 1}')) != scope_of(messages=tool_turns('{"a": 2}'))
    assert scope_of(messages=tool_turns('{"a": 1, "b": 2}')) == scope_of(messages=tool_turns('{"b":2,"a":1}'))


def test_deployments_of_one_model_group_share_their_answers() -> None:
    group: dict[str, Any] = {"metadata": {"model_group": "fast"}}
    assert scope_of(**group, api_base="http://a", model="x/a") == scope_of(**group, api_base="http://b", model="x/b")


def test_model_groups_of_one_caching_group_share_their_answers() -> None:
    groups = [("fast", "faster"), ("slow",)]
    scopes = [scope_of(metadata={"model_group": one, "caching_groups": groups}) for one in ("fast", "faster", "slow")]
    assert scopes[0] == scopes[1] != scopes[2]


def test_chats_completions_and_responses_do_not_share() -> None:
    text: dict[str, Any] = {"messages": None}
    scopes = {scope_of(), scope_of(**text, prompt=TURN["content"]), scope_of(**text, input=TURN["content"])}
    assert len(scopes) == 3


def test_pydantic_messages_read_as_the_same_mappings() -> None:
    from pydantic import BaseModel

    class Message(BaseModel):
        role: str
        content: str

    assert scope_of(messages=[Message(**TURN)]) == scope_of()


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (None, MissReason.BYPASS_NOT_TEXT),
        ([], MissReason.BYPASS_EMPTY),
        ((turn for turn in [TURN]), MissReason.BYPASS_NOT_TEXT),
        ([None], MissReason.BYPASS_UNKNOWN_PART),
        (["text"], MissReason.BYPASS_UNKNOWN_PART),
        ([{"role": "user", "content": None}], MissReason.BYPASS_EMPTY),
        ([{"role": "user", "content": "  "}], MissReason.BYPASS_EMPTY),
        ([{"role": "user", "content": 7}], MissReason.BYPASS_UNKNOWN_PART),
        ([{"role": "user", "content": [{"type": "hologram"}]}], MissReason.BYPASS_UNKNOWN_PART),
        ([{"role": "user", "content": [image("x")]}], MissReason.BYPASS_NOT_TEXT),
        ([{"role": "assistant", "content": "hi"}], MissReason.BYPASS_NOT_TEXT),
        ([{"role": "assistant", "audio": {"id": "a"}}, TURN], MissReason.BYPASS_UNKNOWN_PART),
        ([{"role": "user", "content": "\ud800"}], MissReason.BYPASS_NOT_UNICODE),
    ],
)
def test_a_question_that_cannot_be_cached_has_a_name(question: Any, reason: MissReason) -> None:
    assert reason_of(messages=question) is reason


@pytest.mark.parametrize("kind", ["item_reference", "reasoning", "image_generation_call", ["message"]])
def test_an_item_that_refers_to_what_the_provider_keeps_is_left_alone(kind: Any) -> None:
    assert reason_of(messages=None, input=[{"type": kind, "id": "x"}, TURN]) is MissReason.BYPASS_UNKNOWN_PART


@pytest.mark.parametrize("name", ["conversation", "previous_response_id"])
def test_a_call_that_goes_on_with_what_the_provider_keeps_is_left_alone(name: str) -> None:
    assert reason_of(messages=None, input="and now?", **{name: "x_1"}) is MissReason.BYPASS_UNKNOWN_PART
    shared = read_shared({"model": "m", "input": "and now?", name: "x_1"}, "key", READING)
    assert isinstance(read_question(shared.question, shared.scope), Miss)


@pytest.mark.parametrize(
    "messages",
    [
        [{**TURN, "name": "ann"}],
        [*tool_turns("{}"), TURN],
        with_part(image("data:1")),
        [{"role": "system", "content": "be brief", "x_new": 1}, TURN],
    ],
    ids=["name", "tool call", "image", "unknown field"],
)
def test_what_litellms_own_text_and_key_leave_out_is_not_shared_with_it(messages: Any) -> None:
    shared = read_shared({"model": "m", "messages": messages}, "key", READING)
    assert isinstance(read_question(shared.question, shared.scope), Miss)
    plain = read_shared({"model": "m", "messages": [{"role": "system", "content": "be brief"}, TURN]}, "key", READING)
    assert not isinstance(read_question(plain.question, plain.scope), Miss)


def test_a_list_of_prompts_is_left_alone() -> None:
    assert reason_of(messages=None, prompt=["a", "b"]) is MissReason.BYPASS_UNKNOWN_PART
    assert reason_of(messages=None, prompt=[[1, 2], [3]]) is MissReason.BYPASS_UNKNOWN_PART


def test_a_parameter_without_a_canonical_form_is_a_named_bypass() -> None:
    assert reason_of(logit_bias=object()) is MissReason.BYPASS_SCOPE


@pytest.mark.parametrize(
    ("control", "read", "write", "ttl", "age"),
    [
        ({"no-cache": True}, False, True, None, None),
        ({"no-store": True}, True, False, None, None),
        ({"ttl": 5}, True, True, 5, None),
        ({"ttl": 0}, True, False, None, None),
        ({"ttl": "soon"}, True, True, None, None),
        ({"s-maxage": 7}, True, True, None, 7),
        ({"s-max-age": 0}, True, True, None, 0),
        ("nonsense", True, True, None, None),
        (None, True, True, None, None),
    ],
)
def test_the_cache_parameter_says_what_may_be_read_and_written(
    control: Any, read: bool, write: bool, ttl: Any, age: Any
) -> None:
    request = read_request({**BASE, "cache": control}, READING)
    assert (request.read, request.write) == (read, write)
    assert (request.ttl_seconds, request.max_age_seconds) == (ttl, age)


def test_options_refuse_call_types_without_a_question() -> None:
    from nearhit import ConfigError

    with pytest.raises(ConfigError, match="aembedding"):
        Options(call_types=("acompletion", "aembedding"))
    with pytest.raises(ConfigError, match="temperature"):
        Options(split_by=frozenset({"temperature"}))
