"""The demo's figures, from outcomes made by hand."""

from __future__ import annotations

from nearhit_worker.demo import figures, questions
from nearhit_worker.demo.figures import Asked, Filled
from nearhit_worker.demo.questions import DemoQuestion, Kind

from nearhit.domain.outcome import Hit, Miss, MissReason, Tier


def hit(answer: str, tier: Tier = Tier.SEMANTIC, seconds: float = 0.004) -> Hit:
    return Hit(
        answer=answer, tier=tier, similarity=0.9, prompt="p", cached_prompt="c", key="k", age_seconds=1.0,
        stages={"total": seconds},
    )  # fmt: skip


def miss(reason: MissReason = MissReason.GUARD) -> Miss:
    return Miss(reason=reason, stages={"total": 0.002})


def asked() -> list[Asked]:
    return [
        Asked(DemoQuestion(Kind.EXACT, "a", "A"), hit("A", Tier.EXACT, 0.0001)),
        Asked(DemoQuestion(Kind.REWORDING, "a?", "A"), hit("A")),
        Asked(DemoQuestion(Kind.REWORDING, "b?", "B"), hit("A")),
        Asked(DemoQuestion(Kind.TRAP, "not a"), hit("A")),
        Asked(DemoQuestion(Kind.TRAP, "not b"), miss()),
        Asked(DemoQuestion(Kind.STRANGER, "moon"), miss(MissReason.BELOW_THRESHOLD)),
    ]


def test_an_answer_of_another_question_is_wrong_whatever_the_kind() -> None:
    summary = figures.summarise(asked(), Filled(2, 0.5, (0.02,)))
    assert summary["wrong_answers"] == 2
    assert {kind: row["wrong"] for kind, row in summary["kinds"].items()} == {
        "exact": 0,
        "rewording": 1,
        "trap": 1,
        "stranger": 0,
    }


def test_hits_are_counted_by_tier_and_misses_by_reason() -> None:
    summary = figures.summarise(asked(), Filled(2, 0.5, (0.02,)))
    assert summary["hits"] == {"exact": 1, "semantic": 3}
    assert summary["hit_rate"] == {"exact": 0.1667, "semantic": 0.5}
    assert summary["kinds"]["trap"]["misses"] == {"guard": 1}


def test_times_are_milliseconds() -> None:
    summary = figures.summarise(asked(), Filled(3, 0.5, (0.02, 0.04)))
    assert summary["fills"]["lag_ms"] == {"p50": 20.0, "p99": 40.0, "first": 500.0}
    assert summary["lookup_ms"]["exact"] == {"total": {"p50": 0.1, "p99": 0.1}}
    assert summary["lookup_ms"]["semantic"]["total"]["p99"] == 4.0


def test_a_percentile_is_a_value_that_occurred() -> None:
    values = [float(one) for one in range(1, 101)]
    assert (figures.percentile(values, 0.5), figures.percentile(values, 0.99)) == (50.0, 99.0)
    assert (figures.percentile([7.0], 0.99), figures.percentile([], 0.5)) == (7.0, 0.0)


def test_what_the_demo_must_show_is_a_failure_when_it_does_not() -> None:
    good = figures.summarise(asked(), Filled(2, 0.5, (0.02,)))
    assert figures.failures(good) == []
    few = [Asked(DemoQuestion(Kind.EXACT, "a", "A"), miss()), Asked(DemoQuestion(Kind.REWORDING, "b", "B"), miss())]
    said = figures.failures(figures.summarise(few, Filled(2, 0.5, (), ("a",))))
    assert len(said) == 3
    assert said[0] == "1 fills were not searchable in time"


def test_the_selection_has_some_of_each_kind_whatever_became_of_them() -> None:
    every = [Asked(question, miss()) for question in questions.questions()]
    chosen = figures.selection(every)
    assert len(chosen) == 24
    assert {one.question.kind for one in chosen} == set(Kind)
    assert len({one.question.prompt for one in chosen}) == 24


def test_every_rewording_knows_its_right_answer_and_no_trap_has_one() -> None:
    every = questions.questions()
    given = {answer for _, answer in questions.answers()}
    assert {one.right for one in every if one.kind in {Kind.EXACT, Kind.REWORDING}} <= given
    assert {one.right for one in every if one.kind in {Kind.TRAP, Kind.STRANGER}} == {""}
