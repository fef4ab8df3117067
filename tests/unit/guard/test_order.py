"""Order: what moved between two texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearhit.guard.analysis import analyse
from nearhit.guard.compare import compare
from nearhit.guard.features import FEATURES, features
from nearhit.guard.order import MOVES, exchanged_values, moves


def moved(one: str, other: str) -> dict[str, float]:
    return dict(zip(MOVES, moves(compare(analyse(one), analyse(other))), strict=True))


def test_names_that_took_each_others_place_are_counted() -> None:
    assert (
        moved("the mill of Osk sold the barn of Vell", "the mill of Vell sold the barn of Osk")["exchanged_names"] == 1
    )


def test_values_that_took_each_others_place_are_counted() -> None:
    found = moved("plant 4 elms beside 9 oaks here", "plant 9 elms beside 4 oaks here")

    assert (found["exchanged_values"], found["exchanged_names"]) == (1, 0)


@pytest.mark.parametrize(
    ("one", "other", "exchanged"),
    [
        ("does Greta trust Tomas", "does Tomas trust Greta", True),
        ("reach Osk, Lund and Vell by boat", "reach Vell, Lund and Osk by boat", False),
    ],
)
def test_an_exchange_within_a_list_says_nothing(one: str, other: str, exchanged: bool) -> None:
    assert exchanged_values(compare(analyse(one), analyse(other))) is exchanged


def test_a_phrase_put_first_is_a_turn_and_no_exchange() -> None:
    found = moved("the old mill closed in 1901", "in 1901 the old mill closed")

    assert (found["turned_linked"], found["exchanged_mixed"]) == (1, 0)


WORDS = st.sampled_from(
    ["Osk", "Lund", "mill", "barn", "4", "9", "sold,", "and", "near", ".", "the", "not", "first", "in", "of"]
)


@settings(max_examples=300, deadline=None)
@given(one=st.lists(WORDS, max_size=25), other=st.lists(WORDS, max_size=25))
def test_values_are_finite_never_below_nought_and_no_more_than_named(one: list[str], other: list[str]) -> None:
    values = features(compare(analyse(" ".join(one)), analyse(" ".join(other))), 0.9)

    assert len(values) <= len(FEATURES)
    assert all(0 <= value < 1000 for value in values)
