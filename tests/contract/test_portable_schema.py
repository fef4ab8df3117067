"""The index works on every server that speaks FT.*: nothing in it goes beyond the narrowest of them.

valkey-search 1.0 has no TEXT, no SORTBY and wants a vector clause; ElastiCache 8.2 allows 10 indexes, 50 fields an
index and 16 terms a query; MemoryDB has one shard; Memorystore allows 10 attributes an index. All of them know HASH,
TAG, NUMERIC and VECTOR of FLOAT32.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from nearhit.index.rotation import Step, Wear, decide
from nearhit.index.survey import Generation, Survey
from nearhit.valkey import search_protocol
from nearhit.valkey.key_names import CacheKeys

if TYPE_CHECKING:
    from nearhit.flow.steps import Command

KEYS = CacheKeys("a-namespace", "0123456789ab")
SCOPE = "0" * 32
KINDS = {"TAG", "NUMERIC", "VECTOR"}
VECTOR_OPTIONS = {"TYPE", "DIM", "DISTANCE_METRIC", "M", "EF_CONSTRUCTION", "EF_RUNTIME", "INITIAL_CAP"}
SEARCH_OPTIONS = {"PARAMS", "LIMIT", "RETURN", "DIALECT", "NOCONTENT", "TIMEOUT"}
MOST_ATTRIBUTES = 10
MOST_TERMS = 3
LONGEST_INDEX_NAME = 128


def words(command: Command) -> list[str]:
    return [word.decode("latin-1") if isinstance(word, bytes) else str(word) for word in command]


def fields(create: list[str]) -> list[tuple[str, str, dict[str, str]]]:
    """Return name, kind and options of each field of an FT.CREATE; anything else than these is refused here."""
    rest, found = create[create.index("SCHEMA") + 1 :], []
    while rest:
        name, kind, *rest = rest
        assert kind in KINDS, f"field {name} is {kind}"
        options: dict[str, str] = {}
        if kind == "VECTOR":
            algorithm, count, *rest = rest
            assert algorithm in {"HNSW", "FLAT"}
            options = dict(zip(rest[: int(count) : 2], rest[1 : int(count) : 2], strict=True))
            rest = rest[int(count) :]
        found.append((name, kind, options))
    return found


@pytest.fixture
def create() -> list[str]:
    return words(
        search_protocol.create_index(KEYS.index(1), search_protocol.Shape(KEYS.prefix, 384), search_protocol.Hnsw())
    )


@pytest.fixture
def search() -> list[str]:
    return words(search_protocol.search(KEYS.index(1), SCOPE, b"\0" * 1536, 4))


def test_the_schema_has_only_what_all_servers_know(create: list[str]) -> None:
    assert create[:5] == ["FT.CREATE", KEYS.index(1), "ON", "HASH", "PREFIX"]
    assert create[5] == "1"
    assert create[7] == "SCHEMA"
    found = fields(create)
    assert len(found) <= MOST_ATTRIBUTES
    assert sum(kind == "VECTOR" for _, kind, _ in found) == 1
    for _, kind, options in found:
        if kind == "VECTOR":
            assert options.keys() <= VECTOR_OPTIONS
            assert options["TYPE"] == "FLOAT32"
            assert options["DISTANCE_METRIC"] in {"COSINE", "IP", "L2"}


def test_a_search_has_a_vector_clause_few_terms_and_only_common_options(search: list[str]) -> None:
    query = search[2]
    matched = re.fullmatch(r"\(@scope:\{([0-9a-f]{32})\}\)=>\[KNN (\d+) @embedding \$v AS distance\]", query)
    assert matched is not None
    assert len(re.findall("@", query.split("=>")[0])) <= MOST_TERMS
    rest, used = search[3:], []
    while rest:
        used.append(rest[0])
        width = int(rest[1]) + 2 if rest[0] in {"PARAMS", "RETURN"} else 3 if rest[0] == "LIMIT" else 2
        rest = rest[width:]
    assert set(used) <= SEARCH_OPTIONS


def test_a_search_never_asks_for_the_vector(search: list[str]) -> None:
    at = search.index("RETURN")
    returned = search[at + 2 : at + 2 + int(search[at + 1])]
    assert "embedding" not in returned
    assert len(returned) == len(set(returned))


def test_names_are_short_and_need_no_escapes(create: list[str]) -> None:
    longest = CacheKeys("n" * 64, "0123456789ab").index(999_999)
    assert len(longest) <= LONGEST_INDEX_NAME
    assert re.fullmatch(r"[A-Za-z0-9_.:-]+", longest)


def test_only_commands_that_all_servers_have_are_sent() -> None:
    sent = (search_protocol.info("i"), search_protocol.list_indexes(), search_protocol.drop_index("i"))
    assert [words(command)[0] for command in sent] == ["FT.INFO", "FT._LIST", "FT.DROPINDEX"]
    assert words(search_protocol.drop_index("i")) == ["FT.DROPINDEX", "i"]
    assert words(search_protocol.info("i")) == ["FT.INFO", "i"]


def test_no_more_than_two_generations_are_ever_wanted() -> None:
    """ElastiCache 8.2 allows ten indexes a server; a rotation that left any behind would use them up."""
    info = search_protocol.IndexInfo("g", search_protocol.Shape("p:", 4), 10, 10, 0, False, 1.0, 10_240)
    for numbers in ((1,), (1, 2), (2, 3), (1, 3), (1, 2, 3)):
        those = {number: Generation(number, info, False) for number in numbers}
        for current in numbers:
            step, about = decide(Survey(current, those, 10**9), Wear(least_dead=1, pause_seconds=0))
            assert step is not Step.BUILD or len(numbers) == 1
            assert step is not Step.DROP or about != current
