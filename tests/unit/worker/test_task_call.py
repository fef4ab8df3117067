"""What a Celery message asks for: checked, and reduced to what the tasks use."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Message
from nearhit_worker.envelope import REFUSED_TYPE, plain
from nearhit_worker.task_call import HIDDEN, MAX_DEPTH, check_depth, read_call

from nearhit.errors import MessageError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BODY = [[{"prompt": "p", "answer": "a"}], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
HEADERS = {"task": "nearhit.fill", "id": "one", "argsrepr": "({'prompt': 'private'},)", "retries": 2}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = "task id eta expires retries timelimit args kwargs callbacks errbacks chord group"
named = st.sampled_from(NAMES.split())


class Channel:
    """What kombu's message asks of its channel."""

    no_ack_consumers = None

    @staticmethod
    def decode_body(body: str, encoding: str) -> bytes:
        assert encoding == "base64"
        return base64.b64decode(body, validate=True)


def test_a_sound_message_keeps_what_the_tasks_use_and_hides_its_arguments() -> None:
    limited = {**HEADERS, "timelimit": [None, 5.5], "stamps": {"a": 1}, "eta": "2026-01-02T03:04:35", "expires": None}
    call = read_call(limited, BODY, NOW)
    assert (call.task, call.args, call.kwargs) == ("nearhit.fill", BODY[0], {})
    assert call.headers["eta"] == "2026-01-02T03:04:35+00:00"
    assert call.headers["retries"] == 2
    assert call.headers["argsrepr"] == call.headers["kwargsrepr"] == HIDDEN
    assert call.headers["timelimit"] == [None, None]
    assert "stamps" not in call.headers
    assert "private" not in repr(call.headers)


def test_the_first_protocol_becomes_the_second() -> None:
    call = read_call({}, {"task": "nearhit.fill", "id": "one", "args": BODY[0], "retries": 1}, NOW)
    assert call.rewritten
    assert call.body == BODY
    assert call.headers["retries"] == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"task": 5}, "task's name is int"),
        ({"id": ["one"]}, "id"),
        ({"id": ""}, "id"),
        ({"id": "\ud800"}, "id"),
        ({"timelimit": "now"}, "timelimit"),
        ({"timelimit": [1]}, "timelimit"),
        ({"timelimit": [None, True]}, "timelimit"),
        ({"timelimit": [float("nan"), None]}, "timelimit"),
        ({"retries": 10**30}, "retries"),
        ({"retries": "2"}, "retries"),
        ({"retries": True}, "retries"),
        ({"eta": 5}, "eta"),
        ({"eta": "tomorrow"}, "eta"),
        ({"eta": "9999-12-31T23:59:59-23:00"}, "eta"),
        ({"eta": (NOW + timedelta(hours=2)).isoformat()}, "an hour ahead"),
        ({"expires": {}}, "expires"),
        ({"expires": (NOW - timedelta(seconds=1)).isoformat()}, "expired"),
    ],
)
def test_a_header_of_another_type_is_named(change: dict[str, Any], why: str) -> None:
    with pytest.raises(MessageError, match=why):
        read_call({**HEADERS, **change}, BODY, NOW)


@given(headers=st.dictionaries(named, anything), payload=anything | st.dictionaries(named, anything))
def test_whatever_a_message_holds_it_is_a_call_or_refused(headers: dict[str, Any], payload: Any) -> None:
    try:
        call = read_call(headers, payload, NOW)
    except MessageError:
        return
    assert isinstance(call.args, list)
    assert isinstance(call.kwargs, dict)
    assert 0 <= call.headers["retries"] <= 1_000_000


@given(parts=st.tuples(anything, anything, anything))
def test_whatever_a_body_holds_it_is_a_call_or_refused(parts: tuple[Any, Any, Any]) -> None:
    try:
        read_call(HEADERS, list(parts), NOW)
    except MessageError:
        return


def test_deep_nesting_is_refused_and_many_brackets_are_not() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(MessageError, match="nested deeper"):
        check_depth(deep, json.dumps(deep))
    wide: list[Any] = [[[]] for _ in range(1000)]
    check_depth(wide, json.dumps(wide).encode())


envelope_keys = st.sampled_from(["body", "content-type", "content-encoding", "headers", "properties"])


@given(
    raw=st.binary(max_size=60)
    | anything.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(envelope_keys, anything).map(lambda value: json.dumps(value).encode())
)
def test_whatever_is_popped_kombu_can_take_apart(raw: bytes) -> None:
    found = Message(json.loads(plain(raw, "a queue", "a tag")), channel=Channel())
    assert found.delivery_tag == "a tag"
    assert found.delivery_info == {"exchange": "", "routing_key": "a queue"}
    assert not found.errors
    assert isinstance(found.headers, dict)
    if found.content_type == REFUSED_TYPE:
        assert found.body == raw
        assert found.headers["refusal"]


def test_a_sound_envelope_stays_what_it_is() -> None:
    body = json.dumps(BODY)
    envelope = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {**HEADERS, "timelimit": [5, None]},
        "properties": {"body_encoding": "base64", "delivery_tag": "theirs", "priority": 3, "correlation_id": "one"},
    }
    made = json.loads(plain(json.dumps(envelope).encode(), "a queue", "a tag"))
    assert (made["body"], made["content-type"]) == (envelope["body"], "application/json")
    assert made["headers"] == {"task": "nearhit.fill", "id": "one", "retries": 2, "timelimit": [5, None]}
    assert made["properties"]["priority"] == 3
    assert made["properties"]["delivery_tag"] == "a tag"
