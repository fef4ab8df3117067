"""Guard by kind of difference: invented pairs of the shapes that it is there for."""

from __future__ import annotations

import pytest

from nearhit.guard import REASONS, Guard

NEAR = 0.96
SUM = "Ana packs 4 crates a day and earns 9 dollars a crate.{} How much does she earn in a week?"

OTHER_ORDER = [
    ("In 1901 Abbey bought the mill that Quint had built.", "In 1901 Quint bought the mill that Abbey had built."),
    ("The east tower is older than the tall west tower.", "The tall east tower is older than the west tower."),
    ("Born in Osk, Ann Vell moved to Lund, where she died.", "Born in Lund, Ann Vell moved to Osk, where she died."),
    ("Steam is cheap to make and hard to store.", "Steam is hard to make and cheap to store."),
    ("Can a member open the files of an admin?", "Can an admin open the files of a member?"),
]
SAME_IN_ANOTHER_ORDER = [
    ("In 1901, Abbey bought the old mill near the harbour.", "Abbey bought the old mill near the harbour in 1901."),
    ("Abbey opened the mill on 3 June 1901.", "Abbey opened the mill on June 3, 1901."),
    ("If I lose my key, can I still get in?", "Can I still get in if I lose my key?"),
    ("Is Ana close to Greta?", "Is Greta close to Ana?"),
    ("Which lamp is brighter, 12 or 14?", "Between 12 and 14, which lamp is brighter?"),
]
OTHER_DIRECTION = [
    ("Can guests park inside the gate?", "Can guests park outside the gate?"),
    ("Is the lid on when the pot boils?", "Is the lid off when the pot boils?"),
    ("Do I pay the monthly fee at once?", "Do I pay the yearly fee at once?"),
    ("Is the visa mandatory?", "Is the visa optional?"),
    ("Can I lock all doors?", "Can I lock one door?"),
    ("Can I see who opened my letter?", "Can I see when somebody opened my letter?"),
]
OTHER_ASKED = [
    ("Which year did the mill of Osk close?", "Which street is the mill of Osk on?"),
    ("When was the mill of Osk built?", "Where was the mill of Osk built?"),
]
OTHER_SUM = [
    (SUM.format(" She works 5 days."), SUM.format("")),
    (SUM.format(""), SUM.format("").replace("4 crates", "some crates")),
]
SAME_SUM = [
    (SUM.format(""), SUM.format(" Her neighbour Tom has 3 red vans.")),
    ("Ana has half of 60 crates and sells 3. How many are left?", "Ana has 30 crates and sells 3. How many are left?"),
]
NO_NEGATION = [
    ("I cannot open the gate", "How do I open the gate?"),
    ("We could not oil the hinge", "How could we oil the hinge?"),
    ("I can't find my invoice", "Where do I find my invoice?"),
    ("I don't know how to oil the hinge", "How do I oil the hinge?"),
    ("Is the hall open yet or not?", "Is the hall open yet?"),
]
OTHER_CONDITION = [
    ("What are the risks if I take the powder?", "What are the risks if I don't take the powder?"),
    ("Can I vote if I have registered?", "Can I vote if I have not registered?"),
    ("Is it legal if I declare the barn?", "Is it legal if I don't declare the barn?"),
    ("Will I be charged if I do cancel?", "Will I be charged if I don't cancel?"),
    ("Do I get a refund if I can return the box?", "Do I get a refund if I can't return the box?"),
    ("Am I insured when I wear a helmet?", "Am I insured when I don't wear a helmet?"),
    ("How do I pay if I have a card?", "If I don't have a card, how do I pay?"),
    ("Where do I vote if I have registered?", "Where do I vote if I have not registered?"),
    ("How do I get a refund if I can return the box?", "I want a refund if I cannot return the box"),
    ("How can I get in while I can pay?", "While I cannot pay, I can get in"),
    ("Does the alarm ring if the door is open?", "Does the alarm ring unless the door is open?"),
    ("Can I drive with insurance?", "Can I drive without insurance?"),
    ("How do I vote having registered?", "How do I vote not having registered?"),
    ("What if I am able to pay?", "What if I am unable to pay?"),
]
OTHER_STATEMENT = [
    ("I do not smoke", "How do I smoke?"),
    ("I do not live in Osk", "Where do I live in Osk?"),
    ("I have not been hired", "How have I been hired?"),
    ("I cannot sleep. How can I work?", "How can I work when I can sleep?"),
]
OTHER_LANGUAGES = [
    ("ist das museum am montag offen", "ist das museum montags offen"),
    ("où est la gare de Lyon", "où se trouve la gare de Lyon"),
    ("dove si trova il museo", "dove è il museo"),
    ("东京的人口是多少", "东京人口是多少"),
    ("wie viele einwohner hat bremen", "wie viele einwohner hat bremen denn"),
    ("¿a qué hora abre el museo?", "a qué hora abre el museo hoy"),
]


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard()


@pytest.mark.parametrize(("prompt", "candidate"), [*OTHER_ORDER, *OTHER_DIRECTION, *OTHER_ASKED, *OTHER_SUM])
def test_a_pair_that_means_something_else_is_refused(guard: Guard, prompt: str, candidate: str) -> None:
    verdict = guard.judge(prompt, candidate, NEAR)

    assert not verdict.accepted
    assert verdict.reason in REASONS


@pytest.mark.parametrize(("prompt", "candidate"), [*OTHER_CONDITION, *OTHER_STATEMENT])
def test_a_negation_counts_in_a_condition_and_in_what_somebody_says_of_himself(
    guard: Guard, prompt: str, candidate: str
) -> None:
    assert guard.judge(prompt, candidate, NEAR).reason == "negation"


@pytest.mark.parametrize(("prompt", "candidate"), [*SAME_IN_ANOTHER_ORDER, *SAME_SUM, *NO_NEGATION])
def test_a_pair_that_means_the_same_is_accepted(guard: Guard, prompt: str, candidate: str) -> None:
    assert guard.judge(prompt, candidate, NEAR).accepted


def test_rewordings_in_other_languages_are_not_refused_wholesale(guard: Guard) -> None:
    accepted = [guard.judge(prompt, candidate, NEAR).accepted for prompt, candidate in OTHER_LANGUAGES]

    assert sum(accepted) >= len(OTHER_LANGUAGES) - 2


@pytest.mark.parametrize(("prompt", "candidate"), [*OTHER_ORDER, *OTHER_DIRECTION, *SAME_IN_ANOTHER_ORDER])
def test_an_explanation_names_reasons_of_the_closed_set(guard: Guard, prompt: str, candidate: str) -> None:
    explanation = guard.explain(prompt, candidate, NEAR)

    assert {one.reason for one in explanation.differences} <= set(REASONS)
    assert explanation.verdict == guard.judge(prompt, candidate, NEAR)
