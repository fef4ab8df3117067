from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import InvalidResponse

from nearhit.flow.steps import ReplyError
from nearhit.valkey.reply_reader import NO_REPLY, ReplyReader

LISTS = (b"*", b"%", b"~", b">", b"|")


def replies(reader: ReplyReader) -> list[Any]:
    found = []
    while (reply := reader.gets()) is not NO_REPLY:
        found.append(reply)
    return found


def read_in_pieces(reader: ReplyReader, stream: bytes, size: int) -> list[Any]:
    found = []
    for at in range(0, len(stream), size):
        reader.feed(stream[at : at + size])
        found += replies(reader)
    return found


def encoded(value: Any) -> bytes:
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"_\r\n"
    return b"*%d\r\n%b" % (len(value), b"".join(encoded(item) for item in value))


TEXTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\r\n*99999999\r\n", b"a\n>1234567\r\n", b"*1000000000\r\n", b"\n%7654321\r", b"\r\n|12345678"]),
)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(-9, 9), st.none()), lambda inner: st.lists(inner, max_size=4), max_leaves=12
)


@given(st.lists(VALUES, max_size=6), st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_replies_are_read_however_they_are_cut(values: list[Any], sizes: list[int]) -> None:
    stream = b"".join(map(encoded, values))
    reader, found, at, turn = ReplyReader(), [], 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        reader.feed(stream[at : at + size])
        found += replies(reader)
        at, turn = at + size, turn + 1
    assert found == values


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("before", [b"", b":1\r\n", b"*2\r\n$3\r\nabc\r\n", b"$19\r\n\r\n*99999999\r\nabcdef\r\n"])
@pytest.mark.parametrize("size", [1, 3, 5, 1000])
def test_a_list_that_announces_too_much_is_refused_at_once(kind: bytes, before: bytes, size: int) -> None:
    stream = before + kind + b"1000000000\r\n:1\r\n"
    reader = ReplyReader()
    started = time.perf_counter()
    with pytest.raises(InvalidResponse, match="1000000000"):
        read_in_pieces(reader, stream, size)
    assert time.perf_counter() - started < 1.0


def test_the_largest_list_that_may_be_announced_is_read() -> None:
    reader = ReplyReader()
    reader.feed(b"*999999\r\n" + b":1\r\n" * 999_999)
    assert len(reader.gets()) == 999_999


def test_a_reply_without_end_is_refused() -> None:
    reader = ReplyReader(max_bytes=10_000)
    with pytest.raises(InvalidResponse, match="10000 bytes"):
        read_in_pieces(reader, b"$1000000\r\n" + b"x" * 20_000, 1000)


def test_error_replies_are_values_under_the_names_of_redis_py() -> None:
    reader = ReplyReader()
    reader.feed(b"-ERR unknown command\r\n*1\r\n-READONLY You can't write\r\n-WRONGPASS invalid\r\n")
    assert replies(reader) == [
        ReplyError("unknown command", "ResponseError"),
        [ReplyError("You can't write", "ReadOnlyError")],
        ReplyError("invalid", "AuthenticationError"),
    ]


def test_replies_of_the_third_protocol_are_plain_values() -> None:
    reader = ReplyReader()
    reader.feed(b"%1\r\n$1\r\na\r\n:1\r\n_\r\n,1.5\r\n#f\r\n~1\r\n:3\r\n")
    assert replies(reader) == [{b"a": 1}, None, 1.5, False, [3]]
