"""What a lookup does before its first step takes a few milliseconds of CPU, whatever it is given."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from nearhit.domain.outcome import Miss, MissReason
from nearhit.domain.question import Question, read_question
from nearhit.domain.scope import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SECONDS = 0.03
"""Measured: up to 6 ms on one core of 2020. More than that is left for a slow machine, and far less than 585 ms."""

ASKED = {"role": "user", "content": "why?"}
MEDIA = {"type": "input_audio", "input_audio": {"data": "x" * 10_000_000, "format": "wav"}}
CALL = {"id": "c", "function": {"name": "f", "arguments": '{"a": [1, 2.5, "x"], "b": {"c": null}}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"p": {"type": "string"}}}}}


class Model:
    """A pydantic model as far as anybody outside pydantic can see."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def model_dump(self) -> Any:
        return self._values


def seconds(read: Callable[[], Any]) -> float:
    """Return the CPU time of the best of three."""
    times = []
    for _ in range(3):
        started = time.thread_time()
        read()
        times.append(time.thread_time() - started)
    return min(times)


TOO_LARGE: list[tuple[str, Any, Any]] = [
    ("an earlier turn of 10 MB", [{"role": "assistant", "content": "x" * 10_000_000}, ASKED], None),
    ("an earlier turn of 10 MB beyond ASCII", [{"role": "assistant", "content": "é" * 5_000_000}, ASKED], None),
    ("100,000 turns", [ASKED] * 100_000, None),
    ("100,000 turns of pydantic", [Model(ASKED)] * 100_000, None),
    ("100,000 parts", [{"role": "user", "content": [{"type": "text", "text": "x"}] * 100_000}], None),
    ("100,000 calls", [{"role": "assistant", "tool_calls": [CALL] * 100_000}, ASKED], None),
    ("800 turns of calls", [*([{"role": "assistant", "tool_calls": [CALL]}] * 800), ASKED], None),
    ("100,000 fields", [{**dict.fromkeys(map(str, range(100_000)), "x"), **ASKED}], None),
    ("audio of 10 MB", [{"role": "user", "content": ["what?", MEDIA]}], None),
    ("a system prompt of 10 MB", "why?", {"system": "x" * 10_000_000}),
    ("100,000 parameters", "why?", dict.fromkeys(map(str, range(100_000)), 1)),
    ("100,000 tools", "why?", {"tools": [TOOL] * 100_000}),
    ("a list of 1,000,000", "why?", {"stop": [0] * 1_000_000}),
    ("bytes of 100 MB", "why?", {"x": bytes(100_000_000)}),
    ("numbers of 4,000 digits", "why?", {"x": [10**4000] * 1_000}),
    ("a key of 10 MB", "why?", {"x": {"k" * 10_000_000: 1}}),
]


@pytest.mark.parametrize(("prompt", "scope"), [row[1:] for row in TOO_LARGE], ids=[row[0] for row in TOO_LARGE])
def test_what_is_too_large_is_a_bypass_of_its_own_name_at_once(prompt: Any, scope: Any) -> None:
    read = read_question(prompt, scope)
    assert isinstance(read, Miss)
    assert read.reason is MissReason.BYPASS_TOO_LARGE
    assert seconds(lambda: read_question(prompt, scope)) < MOST_SECONDS


TOO_LONG = {
    "a prompt of 10 MB": "x" * 10_000_000,
    "bytes of 10 MB": b"x" * 10_000_000,
    "parts of 10 MB": [{"role": "user", "content": ["x" * 5_000_000, "y" * 5_000_000]}],
    "space": "a" + " " * 65_000 + "b",
}


@pytest.mark.parametrize("prompt", TOO_LONG.values(), ids=TOO_LONG)
def test_a_question_that_is_too_long_is_a_bypass_at_once(prompt: Any) -> None:
    read = read_question(prompt, None)
    assert isinstance(read, Miss)
    assert read.reason is MissReason.BYPASS_TOO_LONG
    assert seconds(lambda: read_question(prompt, None)) < MOST_SECONDS


LARGEST: list[tuple[str, Any, Any]] = [
    ("an earlier turn of 2 MB", [{"role": "assistant", "content": "x" * (MAX_BYTES - 1_000)}, ASKED], None),
    ("2,600 turns", [ASKED] * 2_600, None),
    ("300 turns of calls", [*([{"role": "assistant", "tool_calls": [CALL]}] * 300), ASKED], None),
    ("500 tools", "why?", {"tools": [TOOL] * 500}),
    ("lists within lists", "why?", {"x": [[[[[[[[[[0]]]]]]]]]] * 700}),
    ("marks that are out of order", "a" + "\u0301\u0323" * 16_000, None),
    ("marks that are taken apart", "a" + "\u0f73" * 32_000, None),
    ("as many marks as are put in order", ("a" + "\u0301\u0323" * 14) * 1_100, None),
    ("lines that end in space", "a \n" * 16_000, None),
    ("another script", "如" * 32_768, None),
]


@pytest.mark.parametrize(("prompt", "scope"), [row[1:] for row in LARGEST], ids=[row[0] for row in LARGEST])
def test_the_largest_input_that_is_looked_up_takes_a_few_milliseconds(prompt: Any, scope: Any) -> None:
    assert isinstance(read_question(prompt, scope), Question)
    assert seconds(lambda: read_question(prompt, scope)) < MOST_SECONDS
