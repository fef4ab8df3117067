"""Order: what moved between two texts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearhit.guard.analysis import analyse
from nearhit.guard.compare import Comparison, compare
from nearhit.guard.features import FEATURES, features
from nearhit.guard.order import exchanged_words


def compared(one: str, other: str) -> Comparison:
    return compare(analyse(one), analyse(other))


def valued(one: str, other: str) -> dict[str, float]:
    found = features(compared(one, other), 0.9)
    return dict.fromkeys(FEATURES, 0.0) | dict(zip(FEATURES, found, strict=False))


@pytest.mark.parametrize(
    ("one", "other", "exchanged"),
    [
        ("the mill of Osk sold the barn of Vell", "the mill of Vell sold the barn of Osk", True),
        ("plant 4 elms beside 9 oaks here", "plant 9 elms beside 4 oaks here", True),
        ("does Greta trust Tomas", "does Tomas trust Greta", True),
        ("does Ann Vell trust Tom Lund", "does Tom Lund trust Ann Vell", True),
        ("reach Osk, Lund and Vell by boat", "reach Vell, Lund and Osk by boat", False),
        ("the old mill closed in 1901", "in 1901 the old mill closed", False),
        ("steam is cheap to make and hard to store", "steam is hard to make and cheap to store", True),
    ],
)
def test_words_of_a_kind_are_exchanged_outside_a_list(one: str, other: str, exchanged: bool) -> None:
    assert exchanged_words(compared(one, other)) is exchanged
    assert exchanged_words(compared(other, one)) is exchanged


def test_names_that_took_each_others_place_are_counted() -> None:
    found = valued("the mill of Osk sold the barn of Vell", "the mill of Vell sold the barn of Osk")

    assert (found["exchanged_entities"], found["entities_moved"]) == (2, 1)


def test_a_phrase_put_first_moves_and_exchanges_nothing() -> None:
    found = valued("the old mill closed in 1901", "in 1901 the old mill closed")

    assert (found["moved"], found["exchanged_entities"], found["exchanged_others"]) == (1, 0, 0)


WORDS = st.sampled_from(
    ["Osk", "Lund", "mill", "barn", "4", "9", "sold,", "and", "near", ".", "the", "not", "first", "in", "of"]
)


@settings(max_examples=300, deadline=None)
@given(one=st.lists(WORDS, max_size=25), other=st.lists(WORDS, max_size=25))
def test_values_are_finite_never_below_nought_and_no_more_than_named(one: list[str], other: list[str]) -> None:
    values = features(compared(" ".join(one), " ".join(other)), 0.9)

    assert len(values) <= len(FEATURES)
    assert all(0 <= value < 1000 for value in values)
