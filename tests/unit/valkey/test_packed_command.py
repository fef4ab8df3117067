"""What is packed once is what redis-py's own packer makes of the same words."""

from __future__ import annotations

from typing import Any

import hiredis
import redis
from hypothesis import given
from hypothesis import strategies as st

from nearhit.valkey import search_protocol
from nearhit.valkey.packed_command import CommandTemplate, pack


@given(st.binary(max_size=3_000), st.text(max_size=20), st.integers(1, 100))
def test_the_commands_of_a_lookup_are_packed_as_hiredis_packs_them(vector: bytes, name: str, k: int) -> None:
    for command in (search_protocol.search(name, "a" * 32, vector, k), search_protocol.read_entry(name)):
        assert command.blob == hiredis.pack_command(tuple(command))


@given(st.lists(st.none() | st.text() | st.binary() | st.integers(), min_size=1, max_size=8), st.binary())
def test_gaps_may_be_anywhere_even_side_by_side(words: list[str | bytes | int | None], value: bytes) -> None:
    command = CommandTemplate(*words).fill(*(value for word in words if word is None))
    expected: tuple[Any, ...] = tuple(value if word is None else word for word in words)
    assert tuple(command) == expected
    assert command.blob == hiredis.pack_command(expected)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5), st.booleans())
def test_several_commands_are_packed_alike_whether_or_not_all_are_packed_already(names: list[str], ping: bool) -> None:
    commands: list[Any] = [search_protocol.read_entry(name) for name in names]
    if ping:
        commands.append(("PING",))
    connection = redis.Connection()
    expected = b"".join(connection.pack_commands([tuple(command) for command in commands]))
    assert pack(commands) == expected


WORDS = st.text(max_size=8) | st.binary(max_size=8) | st.integers() | st.floats(allow_nan=False)


@given(st.lists(st.lists(WORDS, min_size=1, max_size=6).map(tuple), max_size=4))
def test_words_of_every_kind_are_packed_as_hiredis_packs_them(commands: list[tuple[Any, ...]]) -> None:
    assert pack(commands) == b"".join(map(hiredis.pack_command, commands))
