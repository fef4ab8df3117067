"""Backoff: how long a retry waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.resilience.backoff import Backoff

CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e6))
def test_a_wait_is_never_negative_and_never_without_end(tries: int, chance: float, retry_after: float | None) -> None:
    backoff = Backoff(0.25, 60.0)
    wait = backoff.wait_seconds(tries, chance, retry_after)
    assert 0 <= wait <= 601
    if retry_after is not None:
        assert wait >= min(retry_after, 600)
    else:
        assert wait <= 60


def test_waits_double_until_the_ceiling() -> None:
    assert [Backoff(0.25, 2.0).wait_seconds(tries, 1.0) for tries in range(5)] == [0.25, 0.5, 1.0, 2.0, 2.0]


@given(st.integers(0, 10_000), CHANCES, st.none() | st.floats(0, 1e9))
def test_a_wait_is_never_negative_and_never_above_its_ceilings(tries: int, chance: float, after: float | None) -> None:
    wait = Backoff(0.25, 60.0).wait_seconds(tries, chance, after)
    assert 0 <= wait <= (60 if after is None else 601)
    if after is not None:
        assert wait >= min(after, 600)


@given(st.integers(0, 100), CHANCES)
def test_jitter_takes_the_whole_width_of_the_wait(tries: int, chance: float) -> None:
    whole = min(60.0, 0.25 * 2.0**tries)
    assert Backoff(0.25, 60.0).wait_seconds(tries, chance) == pytest.approx(whole * chance)
