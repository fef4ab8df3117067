"""What is made of verified hits: which count, when a budget is broken, and to where a threshold is raised."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.intervals import share_at_any_look
from nearhit.domain.threshold_table import ThresholdEntry
from nearhit.verification.measure import MIN_SAMPLES, STEP, Budget, bands, in_force, raised, tally
from nearhit.verification.samples import ANEW, FALSE_HIT, TRUE_HIT, UNJUDGED, VERDICTS, Sample

BUDGET = Budget(0.05, 0.99)


def sample(similarity: float, verdict: str = TRUE_HIT, threshold: float = 0.8) -> Sample:
    return Sample(verdict, similarity, threshold, "settings", 0)


SAMPLES = st.lists(
    st.builds(sample, st.floats(0.8, 1.0), st.sampled_from(VERDICTS), st.sampled_from((0.8, 0.82))), max_size=120
)
BUDGETS = st.builds(Budget, st.floats(0.001, 0.5), st.floats(0.7, 1.0))


@given(SAMPLES, BUDGETS)
def test_a_raise_is_asked_for_when_the_budget_is_surely_broken_and_never_lowers(
    samples: list[Sample], budget: Budget
) -> None:
    judged = [one for one in samples if one.verdict != UNJUDGED]
    wrong = sum(one.verdict == FALSE_HIT for one in judged)
    lowest = min((one.threshold for one in judged), default=0.8)
    broken = len(judged) >= MIN_SAMPLES and share_at_any_look(wrong, len(judged)).low > budget.share
    found = raised(samples, budget)
    assert (found is not None) == (broken and lowest < budget.ceiling)
    if found is not None:
        assert lowest == found.before < found.after <= budget.ceiling


@given(SAMPLES, BUDGETS)
def test_the_raise_goes_to_the_lowest_threshold_that_keeps_the_budget(samples: list[Sample], budget: Budget) -> None:
    found = raised(samples, budget)
    if found is None or found.after == budget.ceiling:
        return
    judged = [one for one in samples if one.verdict != UNJUDGED]

    def kept(threshold: float) -> bool:
        hits = [one for one in judged if one.similarity >= threshold]
        return sum(one.verdict == FALSE_HIT for one in hits) <= budget.share * len(hits)

    assert kept(found.after)
    step = 1
    while (lower := round(found.after - step * STEP, 6)) > found.before:
        assert not kept(lower)
        step += 1


def test_false_hits_of_low_similarity_raise_to_just_above_them() -> None:
    samples = [sample(0.812, FALSE_HIT)] * 15 + [sample(0.85)] * 85
    found = raised(samples, BUDGET)
    assert found is not None
    assert (found.before, found.after) == (0.8, 0.815)
    assert found.why == "15 false of 100 verified hits at 0.8, at least 5.8%; budget 5.0%"


def test_false_hits_everywhere_raise_to_the_ceiling_and_no_further() -> None:
    samples = [sample(0.995, FALSE_HIT)] * 30 + [sample(0.85)] * 30
    found = raised(samples, BUDGET)
    assert found is not None
    assert found.after == 0.99
    assert raised([replace(one, threshold=0.99) for one in samples], BUDGET) is None
    assert raised(samples, Budget(0.05, 0.8)) is None  # a ceiling at the threshold: it is only measured


def test_a_few_samples_raise_nothing_however_bad() -> None:
    assert raised([sample(0.85, FALSE_HIT)] * (MIN_SAMPLES - 1), BUDGET) is None
    assert raised([sample(0.85, FALSE_HIT)] * MIN_SAMPLES, BUDGET) is not None
    assert raised([sample(0.85, UNJUDGED)] * 1000, BUDGET) is None
    assert raised([], BUDGET) is None


def test_what_was_sampled_before_an_entry_was_set_does_not_count() -> None:
    entries = {
        "*": ThresholdEntry("*", 0.9, when_ms=100),
        "tenant:x": ThresholdEntry("tenant:x", 0.95, when_ms=50),
    }
    old = sample(0.85)
    older = Sample(TRUE_HIT, 0.91, 0.88, "*", 40)
    now = Sample(TRUE_HIT, 0.91, 0.9, "*", 100)
    tenant = Sample(FALSE_HIT, 0.96, 0.95, "tenant:x", 50)
    gone = Sample(FALSE_HIT, 0.96, 0.95, "scope:y", 50)
    assert in_force([old, older, now, tenant, gone], entries) == {"*": [now], "tenant:x": [tenant]}
    assert in_force([old, older, now], {}) == {"*": [old]}


def test_what_was_sampled_before_a_mark_or_under_another_setting_does_not_count() -> None:
    mark = Sample(ANEW, 0.0, 0.0, "settings", 0)
    now = Sample(TRUE_HIT, 0.91, 0.9, "*", 100)
    assert in_force([sample(0.85), mark, sample(0.9)], {}) == {"*": [sample(0.9)]}
    assert in_force([mark, now], {"*": ThresholdEntry("*", 0.9, when_ms=100)}) == {"*": [now]}
    assert in_force([sample(0.92), sample(0.91, threshold=0.9)], {}) == {"*": [sample(0.91, threshold=0.9)]}


@given(SAMPLES)
def test_bands_hold_every_sample_once(samples: list[Sample]) -> None:
    found = bands(samples)
    assert sum(one.true + one.false + one.unjudged for one in found.values()) == len(samples)
    assert all(0.79 <= low <= 0.99 for low in found)


@pytest.mark.parametrize(("similarity", "low"), [(0.80, 0.80), (0.8099, 0.80), (0.81, 0.81), (1.0, 0.99)])
def test_a_band_begins_at_its_lower_end(similarity: float, low: float) -> None:
    assert list(bands([sample(similarity)])) == [low]


def test_unjudged_hits_are_shown_and_belong_to_no_share() -> None:
    found = tally([sample(0.9), sample(0.9, FALSE_HIT), sample(0.9, UNJUDGED)])
    assert (found.true, found.false, found.unjudged) == (1, 1, 1)
    assert found.false_share.value == 0.5
