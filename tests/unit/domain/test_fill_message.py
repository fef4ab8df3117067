"""The format of a fill in the log: what is sent is what arrives, and garbage is an error by name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain import fill_message
from nearhit.domain.entry import MAX_PROMPT_CHARS, Usage
from nearhit.domain.fill_message import Fill
from nearhit.errors import MessageError

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
DIGESTS = st.from_regex("[0-9a-f]{32}", fullmatch=True)
FILLS = st.builds(
    Fill,
    scope=DIGESTS,
    tenant=st.just("") | DIGESTS,
    prompt=TEXTS,
    response=st.binary(max_size=60),
    created_us=st.integers(0, 2**53 - 1),
    ttl_ms=st.integers(1, 366 * 86_400_000),
    fresh_ms=st.integers(0, 366 * 86_400_000),
    embedder=st.from_regex("[0-9a-f]{0,12}", fullmatch=True),
    embedding=st.binary(max_size=60),
    usage=st.none() | st.builds(Usage, st.integers(0, 2**53), st.integers(0, 2**53), st.floats(0, 1e9), TEXTS),
    refresh=st.binary(max_size=20),
)
ROW: dict[str, Any] = {
    "v": 1,
    "s": "a" * 32,
    "t": "",
    "p": "what is it",
    "r": b'"x"',
    "c": 1_700_000_000_000_000,
    "l": 60_000,
    "f": 60_000,
    "e": "",
    "x": b"",
    "u": None,
    "a": b"",
}


@given(FILLS)
def test_what_is_sent_arrives(fill: Fill) -> None:
    assert fill_message.decode(fill_message.encode(fill)) == fill


def test_the_bytes_of_a_message_are_the_format_that_other_programs_read() -> None:
    fill = Fill(
        scope="a" * 32,
        prompt="what is it",
        response=b'"x"',
        created_us=1_700_000_000_000_000,
        ttl_ms=60_000,
        fresh_ms=60_000,
    )
    assert fill_message.encode(fill) == msgpack.packb(ROW)
    assert msgpack.unpackb(fill_message.encode(fill)) == ROW
    assert fill_message.decode(msgpack.packb(ROW)) == fill


def test_the_bytes_of_a_message_stay_what_they_were() -> None:
    usage = Usage(12, 300, 0.25, "m")
    fill = Fill(**{**_values(), "tenant": "b" * 32, "embedder": "0f", "embedding": b"\0\0\x80?", "usage": usage})
    fields = (b"\xa1v\x01", b"\xa1s\xd9 " + b"a" * 32, b"\xa1t\xd9 " + b"b" * 32, b"\xa1p\xa1p", b"\xa1r\xc4\x011")
    numbers = (b"\xa1c\x01", b"\xa1l\x01", b"\xa1f\x01", b"\xa1e\xa20f", b"\xa1x\xc4\x04\0\0\x80?")
    last = (b"\xa1u\x94\x0c\xcd\x01,\xcb?\xd0\0\0\0\0\0\0\xa1m", b"\xa1a\xc4\0")
    assert fill_message.encode(fill) == b"\x8c" + b"".join((*fields, *numbers, *last))


def test_numbers_and_texts_of_another_class_are_sent_as_what_they_are() -> None:
    class Text(str):
        __slots__ = ()

    plain = Fill(**{**_values(), "usage": Usage(1, 2, 0.5, "m")})
    other = Fill(**{**_values(), "prompt": Text("p"), "usage": Usage(1, 2, np.float64(0.5), Text("m"))})
    assert fill_message.encode(other) == fill_message.encode(plain)


def test_fields_that_are_not_known_are_passed_over() -> None:
    assert fill_message.decode(msgpack.packb({**ROW, "later": [1]})) == fill_message.decode(msgpack.packb(ROW))


@pytest.mark.parametrize(
    "change",
    [
        *({"v": 2}, {"v": None}, {"v": "1"}, {"v": True}, {"s": 5}, {"p": b"x"}, {"r": "x"}, {"c": "now"}, {"l": 1.5}),
        *({"c": True}, {"x": "x"}, {"u": 5}, {"u": [1]}, {"u": ["a", 1, 1, "m"]}, {"u": {"a": 1}}),
        *({"u": [float("inf"), 1, 1.0, "m"]}, {"u": [1, 1, float("nan"), "m"]}, {"u": [-1, 1, 1.0, "m"]}),
        *({"s": ""}, {"s": "a" * 31}, {"s": "A" * 32}, {"s": "a" * 31 + "}"}, {"t": "acme"}, {"p": ""}),
        *({"p": "x" * (MAX_PROMPT_CHARS + 1)}, {"l": 0}, {"l": -1}, {"l": 2**62}, {"c": -1}, {"c": 2**60}, {"f": -1}),
        *({"f": 2**62}, {"e": "x" * 1000}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_field_out_of_its_bounds_is_a_message_error(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        fill_message.decode(msgpack.packb({**ROW, **change}))


@pytest.mark.parametrize("name", sorted(ROW))
def test_a_field_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(MessageError, match=repr(name)):
        fill_message.decode(msgpack.packb({key: value for key, value in ROW.items() if key != name}))


@given(st.binary(max_size=200))
def test_garbage_is_a_message_error(blob: bytes) -> None:
    with pytest.raises(MessageError):
        fill_message.decode(blob)


@given(st.data())
def test_a_message_with_one_byte_changed_is_a_fill_or_a_message_error(data: st.DataObject) -> None:
    blob = bytearray(msgpack.packb({**ROW, "u": [1, 2, 0.5, "m"]}))
    blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MessageError):
        assert isinstance(fill_message.decode(bytes(blob)), Fill)


def test_a_list_without_end_is_a_message_error() -> None:
    with pytest.raises(MessageError):
        fill_message.decode(b"\x91" * 1_000_000)


def test_a_message_over_the_limit_is_refused_on_both_ways() -> None:
    with pytest.raises(MessageError, match="the limit is"):
        fill_message.encode(Fill(**{**_values(), "response": b"x" * 2**24}))
    with pytest.raises(MessageError, match="the limit is"):
        fill_message.decode(b"\x00" * 2**24)


@pytest.mark.parametrize("change", [{"scope": ""}, {"prompt": ""}], ids=str)
def test_a_fill_without_a_question_is_never_sent(change: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        fill_message.encode(Fill(**{**_values(), **change}))


def _values() -> dict[str, Any]:
    return {"scope": "a" * 32, "prompt": "p", "response": b"1", "created_us": 1, "ttl_ms": 1, "fresh_ms": 1}
