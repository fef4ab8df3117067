"""The commands and replies of the search module, without a server."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.errors import ContractError
from nearhit.valkey import search_protocol
from nearhit.valkey.search_protocol import Hnsw, Shape

REPLIES = st.recursive(
    st.none() | st.integers() | st.binary(max_size=8) | st.floats(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.binary(max_size=4), inner, max_size=3),
)


def words(command: tuple[Any, ...]) -> str:
    return " ".join(part.decode() if isinstance(part, bytes) else str(part) for part in command)


def test_an_index_is_made_with_the_portable_schema() -> None:
    assert words(search_protocol.create_index("i", Shape("p:", 384), Hnsw(16, 200, 100))) == (
        "FT.CREATE i ON HASH PREFIX 1 p: SCHEMA scope TAG embedding VECTOR HNSW 12 TYPE FLOAT32 DIM 384 "
        "DISTANCE_METRIC COSINE M 16 EF_CONSTRUCTION 200 EF_RUNTIME 100"
    )


def test_a_search_asks_for_all_but_the_vector() -> None:
    assert words(search_protocol.search("i", "a" * 32, b"vector", 4)) == (
        "FT.SEARCH i (@scope:{" + "a" * 32 + "})=>[KNN 4 @embedding $v AS distance] PARAMS 2 v vector LIMIT 0 4 "
        "RETURN 10 distance prompt response embedder scope created fresh_until expires usage refresh DIALECT 2"
    )


def test_a_search_of_a_cluster_says_how_many_candidates_each_shard_looks_at() -> None:
    assert "=>[KNN 1 @embedding $v EF_RUNTIME 100 AS distance]" in words(
        search_protocol.search("i", "a" * 32, b"vector", 1, 100)
    )


def test_rows_come_nearest_first_whatever_the_order_of_the_reply() -> None:
    reply = [2, b"far", [b"distance", b"0.5", b"prompt", b"f"], b"near", [b"distance", b"1e-3", b"prompt", b"n"]]
    assert [(row.key, row.distance, row.fields) for row in search_protocol.parse_search(reply)] == [
        (b"near", 0.001, {b"prompt": b"n"}),
        (b"far", 0.5, {b"prompt": b"f"}),
    ]


def test_a_stored_vector_that_is_none_is_last_and_never_near() -> None:
    reply = [2, b"none", [b"distance", b"nan"], b"far", [b"distance", b"1.9"]]
    rows = search_protocol.parse_search(reply)
    assert [row.key for row in rows] == [b"far", b"none"]
    assert rows[0].similarity == pytest.approx(-0.9)
    assert math.isnan(rows[1].similarity)


@pytest.mark.parametrize(
    "reply",
    [
        *(
            None,
            [],
            b"OK",
            [1, b"key"],
            [1, b"key", b"row"],
            [1, b"key", [b"distance"]],
            [1, b"key", [b"prompt", b"x"]],
        ),
        *([1, b"key", [b"distance", b"near"]],),
        *([1, b"key", [b"distance", None]], [1, b"key", [[], b"0"]], [1, None, [b"distance", b"0"]]),
    ],
    ids=str,
)
def test_a_search_reply_of_another_shape_is_a_contract_error(reply: Any) -> None:
    with pytest.raises(ContractError):
        search_protocol.parse_search(reply)


@given(REPLIES)
def test_any_reply_is_parsed_or_a_contract_error(reply: Any) -> None:
    for parse in (search_protocol.parse_search, search_protocol.parse_info):
        with suppress(ContractError):
            parse(reply)


def test_shapes_that_differ_are_told_with_both_sides() -> None:
    assert search_protocol.mismatches(Shape("p:", 3), Shape("p:", 3)) == []
    assert search_protocol.mismatches(Shape("p:", 3), Shape("q:", 4, "L2", "FLAT")) == [
        "dimension: wanted 3, the index has 4",
        "metric: wanted 'COSINE', the index has 'L2'",
        "algorithm: wanted 'HNSW', the index has 'FLAT'",
        "prefix: wanted 'p:', the index has 'q:'",
    ]


@pytest.mark.parametrize(
    ("text", "missing", "existing", "unknown"),
    [
        ("Index with name 'nope' not found in database 0", True, False, False),
        ("Index idx in database 0 already exists.", False, True, False),
        ("unknown command 'FT.SEARCH', with args beginning with: 'idx'", False, False, True),
        ("WRONGTYPE Operation against a key", False, False, False),
    ],
)
def test_error_replies_are_told_apart(text: str, missing: bool, existing: bool, unknown: bool) -> None:
    assert search_protocol.is_missing_index(text) is missing
    assert search_protocol.is_existing_index(text) is existing
    assert search_protocol.is_unknown_command(text) is unknown
    assert not search_protocol.is_unconfirmed(text)


@pytest.mark.parametrize(
    "text",
    ["Unable to contact all cluster members", "Communication error between nodes found.", "Index name not found."],
)
def test_a_cluster_that_did_it_without_hearing_from_all_nodes_is_told_apart(text: str) -> None:
    assert search_protocol.is_unconfirmed(text)
    assert not search_protocol.is_missing_index(text)
