"""Rows of other Celery clients: each becomes a fill or says why not, and none takes another with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nearhit_worker.rows import REASON, sort_rows

from nearhit.domain import fill_message
from nearhit.domain.hit_policy import Lifetimes

NOW_MS = 1_800_000_000_000
GOOD = {"prompt": "a question", "answer": "an answer"}
FIELDS = (
    *("prompt", "answer", "scope", "ttl_seconds", "fresh_seconds", "lane", "refresh", "usage", "created_seconds"),
    *("vector", "embedder", "scope_digest", "tenant_digest"),
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ttl_seconds": "60"}, "ttl_seconds"),
        ({"ttl_seconds": True}, "ttl_seconds"),
        ({"fresh_seconds": [1]}, "fresh_seconds"),
        ({"refresh": 5}, "refresh"),
        ({"refresh": [["model", "x"]]}, "refresh"),
        ({"usage": "much"}, "usage"),
        ({"usage": {"dollars": 1}}, "usage"),
        ({"lane": []}, "lane"),
        ({"scope": 5}, "scope"),
        ({"scope": {"tenant": 5}}, "tenant"),
        ({"created_seconds": "now"}, "created_seconds"),
        ({"created_seconds": float("nan")}, "created_seconds"),
        ({"created_seconds": -1}, "created_seconds"),
        ({"more": 1}, "more"),
        ({"prompt": 5}, "prompt"),
        ({"answer": None}, "answer"),
    ],
)
def test_a_bad_row_says_which_field_it_is_and_its_neighbours_are_taken(change: dict[str, Any], why: str) -> None:
    found = sort_rows([GOOD, {**GOOD, **change}, {**GOOD, "prompt": "another"}], Lifetimes(), NOW_MS)
    assert [fill_message.decode(blob).prompt for _, blob in found.fills] == ["a question", "another"]
    [(raw, reason, detail)] = found.refused
    assert reason == REASON
    assert why in detail
    assert b"prompt" in raw


@pytest.mark.parametrize("rows", [None, 5, "rows", {"prompt": "a question"}, True])
def test_what_is_no_list_of_rows_is_one_bad_row(rows: Any) -> None:
    found = sort_rows(rows, Lifetimes(), NOW_MS)
    assert found.fills == []
    [(raw, _, detail)] = found.refused
    assert raw == json.dumps(rows).encode()
    assert "expected a list" in detail


@given(rows=st.lists(anything | st.dictionaries(st.sampled_from(FIELDS), anything), max_size=4))
def test_each_row_ends_as_a_fill_or_with_its_reason(rows: list[Any]) -> None:
    found = sort_rows([*rows, GOOD], Lifetimes(), NOW_MS)
    assert len(found.fills) + len(found.refused) == len(rows) + 1
    assert fill_message.decode(found.fills[-1][1]).prompt == "a question"


@given(name=st.sampled_from(FIELDS), value=anything)
def test_a_row_with_one_field_of_anything_is_a_fill_or_has_its_reason(name: str, value: Any) -> None:
    found = sort_rows([{**GOOD, name: value}], Lifetimes(), NOW_MS)
    assert len(found.fills) + len(found.refused) == 1


def test_a_time_beyond_all_numbers_counts_as_now() -> None:
    for created in (float("inf"), 10**400, 1e300):
        found = sort_rows([{**GOOD, "created_seconds": created}], Lifetimes(), NOW_MS)
        [(_, blob)] = found.fills
        assert fill_message.decode(blob).created_us == NOW_MS * 1000
