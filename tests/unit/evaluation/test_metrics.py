"""Measures: intervals, rates of pairs, replays of streams, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nearhit.errors import ConfigError
from nearhit.evaluation import (
    PairRow,
    Replay,
    StreamRow,
    calibrate,
    evaluate_pairs,
    pair_similarities,
    refusals,
    share,
    upper_bound,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ANGLES = {"a": 0.0, "a2": 20.0, "b": 30.0, "far": 90.0}


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    turned = np.radians([ANGLES[text] for text in texts])
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


@dataclass(frozen=True)
class Ruled:
    accepted: bool
    reason: str | None = None


class RefusesB:
    """Refuses whatever stands near ``b``."""

    def judge(self, prompt: str, candidate: str, similarity: float) -> Ruled:
        return Ruled(False, "number") if "b" in (prompt, candidate) else Ruled(True)


def test_the_wilson_interval_has_its_textbook_values() -> None:
    measured = share(5, 50)

    assert measured.value == 0.1
    assert (measured.low, measured.high) == pytest.approx((0.0435, 0.2136), abs=1e-4)
    assert share(0, 0).value is None


def test_the_upper_bound_has_its_textbook_values() -> None:
    assert upper_bound(0, 59) == pytest.approx(0.0495, abs=1e-4)  # the rule of three: 1 - 0.05 ** (1 / 59)
    assert upper_bound(2, 100) == pytest.approx(0.0616, abs=1e-4)
    assert upper_bound(0, 0) == upper_bound(3, 3) == 1.0


PAIRS = [
    PairRow("a", "a2", True, "paraphrase", "one"),
    PairRow("a", "b", False, "hard_neg:number", "one"),
    PairRow("a2", "b", False, "hard_neg:number", "two"),
    PairRow("a", "far", True, "same_intent", "two"),
]


def test_rates_count_what_passes_the_threshold() -> None:
    near = pair_similarities(PAIRS, embed)

    report = evaluate_pairs(PAIRS, near.tolist(), 0.9)

    assert near.tolist() == pytest.approx([0.9397, 0.8660, 0.9848, 0.0], abs=1e-4)
    assert (report.overall.same_accepted, report.overall.different_accepted) == (1, 1)
    assert report.overall.recall.value == 0.5
    assert report.strict.recall.value == 1.0
    assert report.strict.false_hit_rate.value == 0.5
    assert report.by_kind["hard_neg:number"].different_accepted == 1
    assert report.by_source["two"].same_accepted == 0


def test_a_guard_takes_its_refusals_out_of_the_hits_and_they_are_counted_by_reason() -> None:
    near = pair_similarities(PAIRS, embed).tolist()

    report = evaluate_pairs(PAIRS, near, 0.9, refusals(PAIRS, near, RefusesB()))

    assert report.guarded
    assert (report.overall.same_accepted, report.overall.different_accepted) == (1, 0)
    assert report.overall.reasons == {"number": 1}
    assert report.as_dict()["overall"]["refusal_rate"]["value"] == 0.5


STREAM = [
    StreamRow("a", "A", "s"),
    StreamRow("a2", "A", "s"),
    StreamRow("a", "A", "s"),
    StreamRow("b", "B", "t"),
    StreamRow("far", "F", "t"),
]


def test_a_replay_answers_exactly_first_and_then_from_the_nearest() -> None:
    report = Replay(STREAM, embed).run(0.85)

    assert (report.exact, report.semantic, report.false) == (1, 2, 1)
    assert report.hit_rate.value == 0.6
    assert report.by_source == {"s": (1, 0), "t": (1, 1)}


def test_a_refused_neighbour_falls_through_to_the_next() -> None:
    class RefusesNearest:
        def judge(self, prompt: str, candidate: str, similarity: float) -> Ruled:
            return Ruled(candidate != "a2", "order")

    stream = [StreamRow("a", "B"), StreamRow("far", "F"), StreamRow("a2", "A"), StreamRow("b", "B")]

    plain = Replay(stream, embed).run(0.86)
    guarded = Replay([stream[2], stream[0], stream[3]], embed).run(0.95, RefusesNearest())

    assert (plain.semantic, plain.false) == (2, 1)
    assert (guarded.semantic, guarded.refused) == (0, 1)

    both = Replay([StreamRow("a2", "A"), StreamRow("a", "B"), StreamRow("b", "B")], embed)
    refusing = both.run(0.86, RefusesNearest())
    assert (refusing.semantic, refusing.false, refusing.refused) == (1, 0, 2)


def test_a_replay_without_rows_is_empty() -> None:
    assert Replay([], lambda texts: np.zeros((len(texts), 2), dtype=np.float32)).run(0.9).events == 0


def test_vectors_that_do_not_fit_the_texts_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 vectors for 4 texts"):
        Replay(STREAM, lambda _: np.zeros((1, 2), dtype=np.float32))
    with pytest.raises(ConfigError, match="1 vectors for 4 texts"):
        pair_similarities(PAIRS, lambda _: np.zeros((1, 2), dtype=np.float32))


def test_calibration_finds_the_lowest_threshold_that_keeps_the_budget() -> None:
    near = [0.95] * 300 + [0.85] * 300 + [0.75] * 300
    same = [True] * 300 + [True] * 297 + [False] * 3 + [True] * 200 + [False] * 100

    found = calibrate(near, same, 0.05)

    assert found.threshold == pytest.approx(0.755)
    assert (found.hits, found.false) == (600, 3)
    assert found.bound <= 0.05
    assert found.recall == pytest.approx(597 / 797)


def test_a_false_hit_among_the_nearest_does_not_hide_what_many_pairs_prove() -> None:
    near = [0.99] * 30 + [0.96] * 70 + [0.9] * 200
    same = [False] + [True] * 299

    found = calibrate(near, same, 0.1)

    assert found.threshold is not None
    assert found.threshold <= 0.9
    assert (found.hits, found.false) == (300, 1)


def test_a_budget_that_is_not_kept_is_seldom_promised() -> None:
    random = np.random.default_rng(11)
    runs = 400
    promised = sum(
        calibrate(random.uniform(0.6, 1.0, 240).tolist(), (random.random(240) > 0.12).tolist(), 0.1).threshold
        is not None
        for _ in range(runs)
    )
    assert promised / runs <= 0.05


def test_calibration_says_so_when_no_threshold_can_prove_the_budget() -> None:
    assert calibrate([0.9] * 10, [True] * 10, 0.05).threshold is None
    assert calibrate([0.9] * 100, [False] * 100, 0.05).threshold is None


@pytest.mark.parametrize(("budget", "confidence", "said"), [(0.0, 0.95, "budget"), (0.1, 1.0, "confidence")])
def test_calibration_refuses_a_budget_or_confidence_out_of_range(budget: float, confidence: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        calibrate([0.9], [True], budget, confidence=confidence)


def test_calibration_refuses_nothing_to_learn_from_and_labels_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="no pairs"):
        calibrate([], [], 0.1)
    with pytest.raises(ConfigError, match="1 similarities but 2 labels"):
        calibrate([0.9], [True, False], 0.1)
