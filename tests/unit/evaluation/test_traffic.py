"""Traffic: questions without labels become the pairs that lookups would have had to decide on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nearhit.domain.vectors import unit_rows
from nearhit.errors import ConfigError
from nearhit.evaluation.traffic import Candidate, TrafficQuestion, nearest_pairs, read_traffic, sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def circle(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed a text that ends with a number as the point of a circle at so many degrees."""
    angles = [np.deg2rad(float(text.split()[-1])) for text in texts]
    return unit_rows([[np.cos(angle), np.sin(angle)] for angle in angles])


class Refuses:
    """A guard that refuses what begins with 'not'."""

    class Said:
        reason = "negation"

        def __init__(self, *, accepted: bool) -> None:
            self.accepted = accepted

    def judge(self, prompt: str, candidate: str, similarity: float) -> Said:
        return self.Said(accepted=not candidate.startswith("not"))


def texts(pairs: Sequence[Candidate]) -> list[tuple[str, str]]:
    return [(one.prompt, one.candidate) for one in pairs]


def test_questions_and_pairs_are_told_apart(tmp_path: Path) -> None:
    questions = read_traffic(written(tmp_path / "q", {"prompt": "a", "cluster": "c", "tenant": "t"}, {"prompt": "b"}))
    assert questions.pairs == []
    assert questions.questions == [TrafficQuestion("a", ("t", "", "")), TrafficQuestion("b")]
    assert questions.questions[0].labels == {"tenant": "t"}
    scope = {"tenant": "t", "model": "m"}
    pairs = read_traffic(written(tmp_path / "p", {"prompt": "a", "candidate": "b", "scope": scope, "source": "s"}))
    assert pairs.questions == []
    assert pairs.pairs == [Candidate("a", "b", ("", "", '{"model":"m","tenant":"t"}'))]
    assert pairs.pairs[0].labels == {"scope": scope, "source": "s"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "a", "candidate": "b", "same": True}], "line 1 is labelled already"),
        ([{"prompt": "a"}, {"prompt": "a", "candidate": "b"}], "not both"),
        ([], "neither"),
        ([{"prompt": "a"}, {"prompt": ""}], "line 2: field 'prompt'"),
        ([{"prompt": "a", "tenant": 7}], "line 1: field 'tenant'"),
        ([{"prompt": "a", "scope": "x"}], "line 1: field 'scope'"),
    ],
)
def test_a_file_that_is_no_traffic_is_refused(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_traffic(written(tmp_path / "x", *rows))


def test_each_question_is_paired_with_the_nearest_before_it() -> None:
    asked = [TrafficQuestion(one) for one in ("a 0", "b 40", "c 10", "d 35", "a 0", "far 180")]
    assert texts(nearest_pairs(asked, circle, None)) == [("b 40", "a 0"), ("c 10", "a 0"), ("d 35", "b 40")]


def test_a_repeat_is_an_exact_hit_and_makes_no_pair() -> None:
    assert nearest_pairs([TrafficQuestion("a 0")] * 3, circle, None) == []


def test_the_guard_lets_the_next_one_be_looked_at_up_to_so_many() -> None:
    asked = [TrafficQuestion(one) for one in ("yes 0", "not 10", "not 11", "asked 12")]
    assert texts(nearest_pairs(asked, circle, Refuses(), neighbours=3))[-1] == ("asked 12", "yes 0")
    assert ("asked 12", "yes 0") not in texts(nearest_pairs(asked, circle, Refuses(), neighbours=2))


def test_no_pair_crosses_callers() -> None:
    asked = [
        TrafficQuestion("a 0", ("x", "", "")),
        TrafficQuestion("b 5", ("y", "", "")),
        TrafficQuestion("c 20", ("x", "", ""), {"tenant": "x"}),
    ]
    (pair,) = nearest_pairs(asked, circle, None)
    assert texts([pair]) == [("c 20", "a 0")]
    assert pair.whose == ("x", "", "")
    assert pair.labels == {"tenant": "x"}


def test_pairs_of_a_long_stream_are_those_of_brute_force() -> None:
    angles = np.random.default_rng(3).uniform(0, 360, 700)
    asked = [TrafficQuestion(f"q {angle:.6f}") for angle in angles]
    vectors = circle([one.prompt for one in asked])
    numbers = {one.prompt: at for at, one in enumerate(asked)}
    products = vectors.astype(float) @ vectors.astype(float).T
    best = {at: products[at, :at].max() for at in range(1, len(asked))}
    found = [(numbers[prompt], numbers[near]) for prompt, near in texts(nearest_pairs(asked, circle, None))]
    assert [prompt for prompt, _ in found] == [at for at, similarity in best.items() if similarity >= 0.5]
    # neighbours less than a float32 apart may change places: processors round a product differently
    assert all(near < prompt and products[prompt, near] > best[prompt] - 1e-6 for prompt, near in found)


def test_a_larger_sample_holds_the_smaller_one_whatever_the_order() -> None:
    pairs = [Candidate(f"a{number}", f"b{number}") for number in range(100)]
    small, large = sample(pairs, 10), sample(pairs[::-1], 30)
    assert small == large[:10]
    assert len(set(large)) == 30
    assert len(sample(pairs, 1_000)) == 100
