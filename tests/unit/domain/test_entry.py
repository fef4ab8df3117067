"""The format of an entry: what is written is what is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain import entry
from nearhit.domain.entry import Entry, Usage
from nearhit.errors import EntryError

TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
COUNTS = st.integers(0, 2**53)
USAGES = st.none() | st.builds(Usage, COUNTS, COUNTS, st.floats(0, 1e9), TEXTS)
ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)
ENTRIES = st.builds(
    Entry,
    scope=st.from_regex("[0-9a-f]{32}", fullmatch=True),
    tenant=st.just("") | st.from_regex("[0-9a-f]{32}", fullmatch=True),
    prompt=TEXTS,
    response=st.binary(min_size=1, max_size=60),
    embedding=st.binary(max_size=60),
    embedder=st.from_regex("[0-9a-f]{12}", fullmatch=True),
    created_us=COUNTS,
    fresh_until_ms=COUNTS,
    expires_ms=COUNTS,
    usage=USAGES,
    refresh=st.binary(max_size=20),
)


def fields(**changes: bytes | None) -> dict[bytes, bytes]:
    """Return the fields of a sound entry as literals; ``None`` leaves one out."""
    whole: dict[bytes, bytes | None] = {
        b"scope": b"a" * 32,
        b"tenant": b"",
        b"prompt": b"what is it",
        b"response": b'"a thing"',
        b"embedder": b"0123456789ab",
        b"created": b"1700000000000000",
        b"fresh_until": b"1700000060000",
        b"expires": b"1700000060000",
        b"usage": b'[10,20,0.5,"m"]',
        **{name.encode(): value for name, value in changes.items()},
    }
    return {name: value for name, value in whole.items() if value is not None}


@given(ENTRIES)
def test_what_is_written_is_read(one: Entry) -> None:
    assert entry.from_fields(entry.to_fields(one)) == one


@given(ANSWERS)
def test_an_answer_comes_back_as_it_was(answer: Any) -> None:
    assert entry.decode_response(entry.encode_response(answer)) == answer


def test_the_fields_of_an_entry_are_these() -> None:
    found = entry.from_fields(fields())
    assert (found.prompt, found.response, found.usage) == ("what is it", b'"a thing"', Usage(10, 20, 0.5, "m"))
    assert set(entry.READ_FIELDS) == {name for name in fields() if name != b"tenant"} | {b"refresh"}


@pytest.mark.parametrize(
    "change",
    [
        *({"prompt": None}, {"response": None}, {"scope": None}, {"embedder": None}, {"created": None}),
        *({"prompt": b"\xff"}, {"scope": b"\xff"}, {"created": b"soon"}, {"expires": b""}, {"expires": b"9" * 400}),
        *({"expires": b"9" * 5000}, {"created": b"9" * 400}, {"usage": b"{"}, {"usage": b"[1]"}, {"usage": b"5"}),
        *({"usage": b'[Infinity,1,1,"m"]'}, {"usage": b'[1,1,NaN,"m"]'}, {"usage": b'[-1,1,1,"m"]'}),
        *({"usage": b"[" * 100_000}, {"usage": b'[1,1,-0.5,"m"]'}),
    ],
    ids=lambda value: str(value)[:50],
)
def test_garbage_in_a_field_is_an_entry_error(change: dict[str, bytes | None]) -> None:
    with pytest.raises(EntryError):
        entry.from_fields(fields(**change))


@pytest.mark.parametrize("answer", [object(), {1, 2}, b"x", float("nan"), float("inf"), "\ud800", {"a": [object()]}])
def test_an_answer_that_is_not_json_is_refused(answer: Any) -> None:
    with pytest.raises(EntryError, match="not JSON"):
        entry.encode_response(answer)


def nested() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


def test_an_answer_nested_without_end_is_refused_on_both_ways() -> None:
    with pytest.raises(EntryError):
        entry.encode_response(nested())
    with pytest.raises(EntryError):
        entry.decode_response(b"[" * 1_000_000)


def test_an_answer_over_the_limit_is_refused_with_both_figures() -> None:
    assert len(entry.encode_response("x" * (8 * 1024 * 1024 - 2))) == 8 * 1024 * 1024
    with pytest.raises(EntryError, match="8388609 bytes, the limit is 8388608"):
        entry.encode_response("x" * (8 * 1024 * 1024 - 1))


def test_a_large_answer_stands_in_a_field_of_its_own() -> None:
    response = json.dumps("x" * 1_048_576).encode()
    written = entry.to_fields(Entry(**{**_sound(), "response": response}))
    assert (written[b"response"], written[b"response_large"]) == (b"", response)
    small = entry.to_fields(Entry(**_sound()))
    assert (small[b"response"], small[b"response_large"]) == (b'"x"', b"")


@pytest.mark.parametrize(
    "values",
    [
        *((-1, 0, 0.0), (0, -1, 0.0), (0, 0, -0.1), (0, 0, float("nan")), (0, 0, float("inf")), (1.5, 0, 0.0)),
        *(("1", 0, 0.0), (0, None, 0.0), (0, 0, "1")),
    ],
    ids=str,
)
def test_usage_that_cannot_be_counted_is_refused(values: tuple[Any, ...]) -> None:
    with pytest.raises(EntryError):
        Usage(*values)


def test_the_digest_of_a_text_is_sha_256_of_its_utf_8() -> None:
    assert entry.prompt_digest("abc") == "ba7816bf8f01cfea414140de5dae2223"
    assert len(entry.prompt_digest("é" * 10_000)) == 32


def _sound() -> dict[str, Any]:
    return {
        "scope": "a" * 32,
        "tenant": "",
        "prompt": "p",
        "response": b'"x"',
        "embedding": b"",
        "embedder": "e",
        "created_us": 1,
        "fresh_until_ms": 2,
        "expires_ms": 3,
    }


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", '{"a": [-1e400]}'])
def test_a_number_that_is_not_finite_is_neither_stored_nor_served(text: str) -> None:
    with pytest.raises(EntryError):
        entry.encode_response(json.loads(text))
    with pytest.raises(EntryError):
        entry.decode_response(text.encode())
