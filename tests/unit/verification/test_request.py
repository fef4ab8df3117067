"""Requests to verify a hit: what the model is asked again, and what of it lies in the log."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.scope import Scope
from nearhit.errors import ContractError, MessageError
from nearhit.verification.request import MAX_BYTES, VerificationRequest, decode, encode, recipe_of
from tests.support.ids import stable

USER = {"role": "user", "content": "why?"}


def request(**changes: Any) -> VerificationRequest:
    values: dict[str, Any] = {
        "recipe": {"model": "m", "messages": [USER]},
        "question": "why?",
        "cached_question": "why is that?",
        "cached_answer": b'"because"',
        "similarity": 0.93,
        "threshold": 0.9,
        "origin": "settings",
        "since_ms": 0,
        "scope": "a" * 32,
        "tenant": "",
    }
    return VerificationRequest(**{**values, **changes})


@given(st.text(st.characters(codec="utf-8")), st.binary(), st.floats(-1, 1), st.integers(0, 2**50))
def test_what_is_sent_is_what_is_read(text: str, answer: bytes, similarity: float, since_ms: int) -> None:
    sent = request(question=text, cached_answer=answer, similarity=similarity, since_ms=since_ms)
    assert decode(encode(sent)) == sent


def test_the_bytes_of_a_request_stay_what_they_were() -> None:
    recipe = b'\xa6recipe\xd9A{"model": "m", "messages": [{"role": "user", "content": "why?"}]}'
    texts = b'\xa8question\xa4why?\xafcached_question\xacwhy is that?\xadcached_answer\xc4\t"because"'
    numbers = b"\xaasimilarity\xcb?\xe0\0\0\0\0\0\0\xa9threshold\xcb?\xd0\0\0\0\0\0\0"
    whose = b"\xa6origin\xa8settings\xa8since_ms\0\xa5scope\xd9 " + b"a" * 32 + b"\xa6tenant\xa0"
    sent = request(similarity=0.5, threshold=0.25)
    assert encode(sent) == b"\x8b\xa1v\x01" + recipe + texts + numbers + whose


@pytest.mark.parametrize(
    "blob",
    [
        *(b"", b"\xff", b"text", msgpack.packb([]), msgpack.packb({}), msgpack.packb({"v": 9})),
        msgpack.packb({"v": 1, "recipe": "{}"}),
        encode(request())[:-3],
        msgpack.packb({**msgpack.unpackb(encode(request())), "recipe": "[]"}),
        msgpack.packb({**msgpack.unpackb(encode(request())), "similarity": "near"}),
        msgpack.packb({**msgpack.unpackb(encode(request())), "more": 1}),
    ],
    ids=lambda blob: repr(blob[:12]),
)
def test_what_is_no_request_is_refused(blob: bytes) -> None:
    with pytest.raises(MessageError):
        decode(blob)


def test_a_request_that_is_too_long_or_no_json_is_not_sent() -> None:
    with pytest.raises(MessageError, match=f"more than {MAX_BYTES}"):
        encode(request(cached_answer=b"x" * MAX_BYTES))
    with pytest.raises(MessageError, match="cannot be written"):
        encode(request(recipe={"model": "m", "messages": [{"role": "user", "content": object()}]}))


def test_a_text_is_asked_with_model_system_prompt_and_sampling_of_its_scope() -> None:
    scope = Scope(model="gpt", system="Be brief.", parameters={"temperature": 0, "user": "ann", "locale": "de"})
    assert recipe_of("why?", scope) == {
        "model": "gpt",
        "messages": [{"role": "system", "content": "Be brief."}, USER],
        "temperature": 0,
    }
    assert recipe_of(b"why?", scope, "other")["model"] == "other"


def test_a_conversation_is_asked_as_it_was() -> None:
    turns = [{"role": "system", "content": "s"}, USER, {"role": "assistant", "content": "so"}, USER]
    assert recipe_of(turns, Scope(model="m"))["messages"] == turns
    shape = {"type": "json_object"}
    assert recipe_of(turns, Scope(model="m", response_format=shape))["response_format"] == shape
    assert recipe_of(turns, Scope(model="m", parameters={"response_format": shape}))["response_format"] == shape


@pytest.mark.parametrize(
    ("prompt", "scope"),
    [
        ("why?", Scope()),
        ("why?", Scope(model="m", tools=[{"type": "function"}])),
        ("why?", Scope(model="m", parameters={"tools": [{"type": "function"}]})),
        ("why?", Scope(model="m", parameters={"\0function": "app.ask"})),
        ("why?", Scope(model="m", response_format=VerificationRequest)),
        ([{"type": "message", "content": "why?"}], Scope(model="m")),
        ([{"role": "user", "content": [{"type": "input_text", "text": "why?"}]}], Scope(model="m")),
        ([object()], Scope(model="m")),
    ],
    ids=stable,
)
def test_what_cannot_be_asked_again_is_refused(prompt: Any, scope: Scope) -> None:
    with pytest.raises(ContractError):
        recipe_of(prompt, scope)
