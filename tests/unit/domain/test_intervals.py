"""Bounds that are looked at after every sample: exact where they can be computed otherwise, honest in the long run."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.intervals import share, share_at_any_look, upper_bound

COUNTS = st.integers(0, 300).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(COUNTS)
def test_the_share_lies_within_its_bounds(counts: tuple[int, int]) -> None:
    count, total = counts
    found = share_at_any_look(count, total)
    assert 0.0 <= found.low <= (found.value or 0.0) <= found.high <= 1.0


@given(COUNTS)
def test_right_and_wrong_are_treated_alike(counts: tuple[int, int]) -> None:
    count, total = counts
    wrong, right = share_at_any_look(count, total), share_at_any_look(total - count, total)
    assert abs(wrong.low - (1 - right.high)) < 1e-9
    assert abs(wrong.high - (1 - right.low)) < 1e-9


@given(COUNTS.filter(lambda counts: counts[1] > 0))
def test_looking_often_costs_width_against_one_look(counts: tuple[int, int]) -> None:
    found, once = share_at_any_look(*counts), share(*counts)
    assert found.high - found.low > once.high - once.low
    assert found.high >= upper_bound(*counts) - 1e-9


def test_the_bounds_are_where_the_mixture_of_all_shares_is_twenty_times_as_likely() -> None:
    """The definition by numerical integration over the prior, which the code has in closed form."""
    angles = (np.arange(200_000) + 0.5) / 200_000 * np.pi / 2
    shares = np.sin(angles) ** 2  # equal steps of the angle are equal weights of Beta(1/2, 1/2)
    for count, total in ((0, 30), (3, 40), (12, 90), (50, 60), (7, 7)):
        found = share_at_any_look(count, total)
        mixture = np.mean(shares**count * (1 - shares) ** (total - count))
        for end in (found.low, found.high):
            if 0.0 < end < 1.0:
                likelihood = end**count * (1 - end) ** (total - count)
                assert abs(mixture / likelihood / 20 - 1) < 0.01, (count, total, end)


def test_of_many_runs_looked_at_all_the_time_few_ever_lose_the_true_share() -> None:
    draw = random.Random(8)
    for truth in (0.02, 0.05, 0.3):
        lost = sum(_lost(draw, truth) for _ in range(200))
        assert lost <= 16, truth  # 5 % of 200 is 10; more than 16 would come by chance once in 40 at the worst


def _lost(draw: random.Random, truth: float) -> bool:
    """Return whether a run of 400 samples, looked at after every one, is ever surely on the wrong side."""
    count = 0
    for total in range(1, 401):
        count += draw.random() < truth
        found = share_at_any_look(count, total)
        if not found.low <= truth <= found.high:
            return True
    return False


def test_an_ordinary_interval_looked_at_all_the_time_is_not_honest() -> None:
    draw, lost = random.Random(8), 0
    for _ in range(100):
        count = 0
        for total in range(1, 401):
            count += draw.random() < 0.3
            found = share(count, total)
            if not found.low <= 0.3 <= found.high:
                lost += 1
                break
    assert lost > 20
