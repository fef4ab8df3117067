"""What a lookup asks the server for, and in which order, where it knows the question's vector already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nearhit.domain.hit_policy import Rules
from nearhit.domain.outcome import Hit, Miss, MissReason, Tier
from nearhit.domain.question import Question
from nearhit.embedding.vector_cache import VectorCache
from nearhit.flow.steps import Send
from nearhit.index.quick_search import QuickSearch
from nearhit.index.space import Space
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit.read.lookup import lookup
from nearhit.valkey.key_names import CacheKeys
from nearhit.valkey.search_protocol import Hnsw

KEYS = CacheKeys("order", "0123456789ab")
SCOPE = "a" * 32
TEXT = "asked"


def fields(prompt: str) -> dict[bytes, bytes]:
    return {
        b"prompt": prompt.encode(),
        b"response": b'"an answer"',
        b"embedder": KEYS.embedder.encode(),
        b"scope": SCOPE.encode(),
        b"created": b"1700000000000000",
        b"fresh_until": b"4000000000000",
        b"expires": b"4000000000000",
        b"usage": b"",
        b"refresh": b"",
    }


def row(prompt: str, distance: str) -> list[Any]:
    named = {b"distance": distance.encode(), **fields(prompt)}
    return [f"{KEYS.prefix}{prompt}".encode(), [part for pair in named.items() for part in pair]]


def space() -> Space:
    vectors = VectorCache(4)
    vectors.put(TEXT, np.array([1, 0], dtype=np.float32))
    return Space(KEYS, 2, ValkeySearchEngine(KEYS, 2), vectors)


def answer(searched: list[Any], held: list[Any], backfilling: bytes = b"0") -> tuple[Hit | Miss, list[str], Space]:
    """Return the outcome, the commands that asked for it, and the space, for what the server has."""
    told: list[Any] = [
        b"index_name",
        b"i",
        b"num_docs",
        b"2",
        b"backfill_in_progress",
        backfilling,
        b"hash_indexing_failures",
        b"0",
    ]
    vector = [
        b"type",
        b"VECTOR",
        b"index",
        [b"dimensions", 2, b"distance_metric", b"COSINE", b"algorithm", [b"name", b"HNSW"]],
    ]
    told += [b"index_definition", [b"prefixes", [b"p"]], b"attributes", [vector]]
    replies = {"FT.SEARCH": searched, "HMGET": held, "GET": None, "FT.INFO": told}
    where = space()
    flow = lookup(Question(TEXT, SCOPE), where, Rules(0.9), {})
    asked: list[str] = []
    send: Any = None
    while True:
        try:
            step = flow.send(send)
        except StopIteration as stop:
            return stop.value, asked, where
        assert isinstance(step, Send)
        names = [str(command[0]) for command in step.commands]
        asked += [name for name in names if name in {"FT.SEARCH", "HMGET"}]
        send = [replies[name] for name in names]


NOTHING: list[Any] = [None] * 9
OWN = list(fields(TEXT).values())


def test_a_near_neighbour_is_served_after_one_round_trip() -> None:
    outcome, asked, _ = answer([1, *row("near", "0.05")], NOTHING)
    assert isinstance(outcome, Hit)
    assert (outcome.tier, outcome.cached_prompt, asked) == (Tier.SEMANTIC, "near", ["FT.SEARCH"])


def test_the_entry_of_the_very_text_is_an_exact_hit_and_its_vector_is_forgotten() -> None:
    outcome, asked, where = answer([1, *row(TEXT, "0.0000001")], OWN)
    assert isinstance(outcome, Hit)
    assert (outcome.tier, outcome.similarity, asked) == (Tier.EXACT, 1.0, ["FT.SEARCH", "HMGET"])
    assert where.vectors.get(TEXT) is None


@pytest.mark.parametrize(
    ("searched", "searches"),
    [([0], 2), ([1, *row("far", "0.5")], 1), ([1, *row("twin", "0.0000001")], 1)],
    ids=["nothing is found", "nothing near is found", "another text with that vector is found"],
)
def test_an_entry_that_the_search_does_not_find_is_found_by_its_key(searched: list[Any], searches: int) -> None:
    outcome, asked, _ = answer(searched, OWN)
    assert isinstance(outcome, Hit)
    assert (outcome.tier, asked) == (Tier.EXACT, ["FT.SEARCH"] * searches + ["HMGET"])


def test_an_entry_is_found_by_its_key_while_the_index_is_being_filled() -> None:
    outcome, asked, _ = answer([1, *row("near", "0.05")], OWN, backfilling=b"1")
    assert isinstance(outcome, Hit)
    assert (outcome.tier, asked) == (Tier.EXACT, ["FT.SEARCH", "HMGET"])


def test_a_twin_is_served_where_the_text_has_no_entry() -> None:
    outcome, _, where = answer([1, *row("twin", "0.0000001")], NOTHING)
    assert isinstance(outcome, Hit)
    assert (outcome.tier, outcome.cached_prompt) == (Tier.SEMANTIC, "twin")
    assert where.vectors.get(TEXT) is not None


def test_a_miss_is_told_by_the_search_when_there_is_no_entry() -> None:
    outcome, _, _ = answer([1, *row("far", "0.5")], NOTHING)
    assert isinstance(outcome, Miss)
    assert outcome.reason is MissReason.BELOW_THRESHOLD


class Picky:
    """A guard that refuses all but one text, and remembers whom it was asked about."""

    def __init__(self, right: str) -> None:
        self.right = right
        self.asked: list[str] = []

    def judge(self, prompt: str, candidate: str, similarity: float) -> Said:
        self.asked.append(candidate)
        return Said(candidate == self.right, None if candidate == self.right else "number")


@dataclass(frozen=True)
class Said:
    accepted: bool
    reason: str | None


def searched_twice(first: list[Any], second: list[Any], rules: Rules) -> tuple[Hit | Miss, list[Any]]:
    """Return the outcome and how many neighbours each search asked for; the first search is answered by ``first``."""
    flow = lookup(Question(TEXT, SCOPE), space(), rules, {})
    counts: list[Any] = []
    searched = iter((first, second))
    send: Any = None
    while True:
        try:
            step = flow.send(send)
        except StopIteration as stop:
            return stop.value, counts
        assert isinstance(step, Send)
        send = [NOTHING if command[0] == "HMGET" else None for command in step.commands]
        if step.commands[0][0] == "FT.SEARCH":
            counts.append(step.commands[0][9])
            send[0] = next(searched)


def test_the_nearest_neighbour_alone_is_fetched_where_it_decides() -> None:
    for distance, found in (("0.05", Hit), ("0.5", Miss)):
        outcome, counts = searched_twice([1, *row("near", distance)], [], Rules(0.9))
        assert (type(outcome), counts) == (found, [b"1"])


def test_the_next_neighbours_are_fetched_where_the_guard_refuses_the_nearest() -> None:
    guard = Picky("right")
    both = [2, *row("wrong", "0.01"), *row("right", "0.02")]
    outcome, counts = searched_twice([1, *row("wrong", "0.01")], both, Rules(0.9, guard, k=3))
    assert isinstance(outcome, Hit)
    assert (outcome.cached_prompt, counts) == ("right", [b"1", b"3"])
    assert guard.asked == ["wrong", "right"]


def test_the_next_neighbours_are_fetched_where_the_server_left_an_ended_one_out() -> None:
    outcome, counts = searched_twice([0], [1, *row("next", "0.03")], Rules(0.9))
    assert isinstance(outcome, Hit)
    assert (outcome.cached_prompt, counts) == ("next", [b"1", b"4"])


def test_a_miss_names_the_nearest_neighbour_whatever_comes_behind_it() -> None:
    both = [2, *row("wrong", "0.01"), *row("far", "0.5")]
    outcome, _ = searched_twice([1, *row("wrong", "0.01")], both, Rules(0.9, Picky("none")))
    assert isinstance(outcome, Miss)
    assert outcome.nearest is not None
    assert (outcome.reason, outcome.nearest.prompt, outcome.nearest.refusal) == (MissReason.GUARD, "wrong", "number")


def test_rules_of_one_neighbour_never_search_twice() -> None:
    outcome, counts = searched_twice([1, *row("wrong", "0.01")], [], Rules(0.9, Picky("none"), k=1))
    assert isinstance(outcome, Miss)
    assert counts == [b"1"]


def hurried(first: list[Any], *others: list[Any], rules: Rules) -> tuple[Hit | Miss, list[str]]:
    """Return the outcome where lookups begin with few candidates, and how many each search looked at, of how many."""
    where = space()
    assert where.engine.quick is not None
    for _ in range(100):
        where.engine.quick.count(served=True)
    flow = lookup(Question(TEXT, SCOPE), where, rules, {})
    looks: list[str] = []
    searched = iter((first, *others))
    send: Any = None
    while True:
        try:
            step = flow.send(send)
        except StopIteration as stop:
            assert next(searched, None) is None
            return stop.value, looks
        assert isinstance(step, Send)
        send = [NOTHING if command[0] == "HMGET" else None for command in step.commands]
        if step.commands[0][0] == "FT.SEARCH":
            words = bytes(step.commands[0][2]).split()  # type: ignore[arg-type]  # the query, as bytes
            looks.append(f"{words[1].decode()} of {words[5].decode()}")
            send[0] = next(searched)


def test_what_a_quick_search_finds_is_served_at_once() -> None:
    outcome, looks = hurried([1, *row("near", "0.05")], rules=Rules(0.9))
    assert isinstance(outcome, Hit)
    assert (outcome.cached_prompt, looks) == ("near", ["1 of 10"])


def test_what_a_quick_search_misses_is_found_by_a_thorough_one() -> None:
    far, near = [1, *row("far", "0.5")], [1, *row("near", "0.05")]
    outcome, looks = hurried(far, near, rules=Rules(0.9))
    assert isinstance(outcome, Hit)
    assert (outcome.cached_prompt, looks) == ("near", ["1 of 10", "1 of 40"])


@pytest.mark.parametrize("quickly", [[0], [1, *row("wrong", "0.05")]], ids=["nothing is found", "the guard refuses it"])
def test_where_a_quick_search_leaves_doubt_all_neighbours_are_looked_at_anew(quickly: list[Any]) -> None:
    guard = Picky("right")
    all_of_them = [3, *row("missed", "0.01"), *row("wrong", "0.05"), *row("right", "0.06")]
    outcome, looks = hurried(quickly, all_of_them, rules=Rules(0.9, guard))
    assert isinstance(outcome, Hit)
    assert (outcome.cached_prompt, looks) == ("right", ["1 of 10", "4 of 40"])
    assert guard.asked[-3:] == ["missed", "wrong", "right"]


def test_a_miss_names_the_nearest_neighbour_that_a_quick_search_missed() -> None:
    wrong = row("wrong", "0.05")
    outcome, _ = hurried([1, *wrong], [2, *row("missed", "0.01"), *wrong], rules=Rules(0.9, Picky("none")))
    assert isinstance(outcome, Miss)
    assert outcome.nearest is not None
    assert outcome.nearest.prompt == "missed"


def test_rules_of_one_neighbour_search_thoroughly_behind_a_quick_search() -> None:
    outcome, looks = hurried([0], [1, *row("near", "0.05")], rules=Rules(0.9, k=1))
    assert isinstance(outcome, Hit)
    assert looks == ["1 of 10", "1 of 40"]


def test_lookups_begin_quickly_while_two_thirds_of_them_are_hits() -> None:
    quick = QuickSearch()
    for share, expected in ((0.9, True), (0.5, False), (0.8, True), (0.0, False)):
        for number in range(500):
            quick.count(served=number % 10 < 10 * share)
        assert quick.worth is expected


def test_an_index_that_is_set_to_few_candidates_has_no_quick_search() -> None:
    assert ValkeySearchEngine(KEYS, 2, Hnsw(ef_runtime=10)).quick is None
    assert ValkeySearchEngine(KEYS, 2, Hnsw(ef_runtime=11)).quick is not None
