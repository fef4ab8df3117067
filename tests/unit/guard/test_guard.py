"""Guard: which near texts may share an answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearhit.errors import ConfigError
from nearhit.guard import REASONS, Guard, RefusalReason
from nearhit.guard.analysis import MAX_CHARACTERS

NEAR = 0.96

DIFFERENT = [
    ("How many crates fit on 12 pallets?", "How many crates fit on 14 pallets?", RefusalReason.NUMBER),
    ("Is the museum open on Monday?", "Is the museum open on Friday?", RefusalReason.DATE),
    ("Print the size of notes.txt", "Print the size of readme.md", RefusalReason.IDENTIFIER),
    ("Is it wise to swim in Norway?", "Is it wise not to swim in Norway?", RefusalReason.NEGATION),
    ("Can I open the valve myself?", "Can I close the valve myself?", RefusalReason.ANTONYM),
    ("How can I become more patient?", "How can I become less patient?", RefusalReason.COMPARISON),
    ("Should I stretch before running?", "Should I stretch after running?", RefusalReason.BEFORE_AFTER),
    ("Is Lena Ott a cook and a nurse?", "Is Lena Ott a cook or a nurse?", RefusalReason.CONNECTIVE),
    ("Is Lena Ott a pilot?", "Did Lena Ott use to be a pilot?", RefusalReason.TENSE),
    ("Does Greta trust Tomas?", "Does Tomas trust Greta?", RefusalReason.ROLE),
    ("Does Greta notice Tomas?", "Is Greta noticed by Tomas?", RefusalReason.ROLE),
    ("Convert 10 miles to kilometers", "Convert 10 kilometers to miles", RefusalReason.ROLE),
    ("trains from oslo to bergen", "trains from bergen to oslo", RefusalReason.ROLE),
    ("Is x < 5 for y in z?", "Is x > 5 for y in z?", RefusalReason.IDENTIFIER),
    ("What is twenty five plus two?", "What is thirty five plus two?", RefusalReason.NUMBER),
    ("Do you think he would trust her?", "Do you think she would trust him?", RefusalReason.ROLE),
]

ALIKE = [
    ("How do I reset my password?", "how can i reset my password"),
    ("What's the capital of Peru?", "What is the capital of Peru?"),
    ("How many legs do two spiders have?", "How many legs do 2 spiders have?"),
    ("Could you please tell me when the library opens?", "When does the library open?"),
    ("Does Greta notice Tomas?", "Is Tomas noticed by Greta?"),
    ("Who built the, uh no sorry, who painted the old hall?", "Who painted the old hall?"),
    ("Is Lena Ott a pilot and Danish?", "Is Lena Ott a Danish pilot?"),
    ("Who is the head of Norlund?", "Who is Norlund's head?"),
    ("What is the colour of the north gate?", "What is the color of the north gate?"),
]


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard()


@pytest.mark.parametrize(("prompt", "candidate", "reason"), DIFFERENT)
def test_a_text_that_asks_something_else_is_refused_with_its_reason(
    guard: Guard, prompt: str, candidate: str, reason: RefusalReason
) -> None:
    verdict = guard.judge(prompt, candidate, NEAR)

    assert not verdict.accepted
    assert verdict.reason is reason


@pytest.mark.parametrize(("prompt", "candidate"), ALIKE)
def test_another_wording_of_the_same_question_is_accepted(guard: Guard, prompt: str, candidate: str) -> None:
    verdict = guard.judge(prompt, candidate, NEAR)

    assert verdict.accepted
    assert verdict.reason is None


def test_the_same_text_is_accepted_whatever_it_says(guard: Guard) -> None:
    assert guard.judge("no 7", "no 7", 1.0).accepted


@settings(max_examples=150, deadline=None)
@given(one=st.text(max_size=300), other=st.text(max_size=300), similarity=st.floats(-1, 1))
def test_any_two_texts_are_judged_alike_in_both_directions(one: str, other: str, similarity: float) -> None:
    guard = Guard()

    verdict = guard.judge(one, other, similarity)

    assert verdict == guard.judge(other, one, similarity)
    assert verdict.accepted == (verdict.reason is None)
    assert verdict.reason is None or verdict.reason in REASONS
    assert verdict.probability is None or 0.0 <= verdict.probability <= 1.0


SPECIAL = """no wait 7 seven third 1/0 1/3 $5 5% one twenty two hundred the who how many Ann Bob 'x' "y" a/b c.txt
-f not or and before after is was by 3-4 99999999999999999999 um sorry actually ² ½ ٣ 中文 don't ’ < > 1e999"""
WORDS = st.sampled_from(SPECIAL.split())


@settings(max_examples=300, deadline=None)
@given(one=st.lists(WORDS, max_size=30), other=st.lists(WORDS, max_size=30))
def test_texts_full_of_special_words_are_judged_alike_in_both_directions(one: list[str], other: list[str]) -> None:
    guard = Guard()

    assert guard.judge(" ".join(one), " ".join(other), 0.9) == guard.judge(" ".join(other), " ".join(one), 0.9)
    guard.explain(" ".join(one), " ".join(other), 0.9)


@pytest.mark.parametrize("unit", ["x", "word ", "é", "\ud800", "中", "1", "no ", "\x00 ", "no wait ", "' "])
def test_a_megabyte_is_judged_without_reading_it_all(guard: Guard, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))

    assert guard.judge(text + "a", text + "b", 0.99).reason is RefusalReason.TOO_LONG
    assert guard.judge("b" + text, text, 0.99).reason is not None or len(text) < MAX_CHARACTERS


def test_long_texts_with_the_same_rest_are_compared_by_their_beginning(guard: Guard) -> None:
    rest = " and so on" * 1000
    beginning = "How many crates fit on {} pallets?" + " It is a long story." * 300

    accepted = guard.judge(
        beginning.format(12) + rest, beginning.format("twelve").replace("twelve", "12 ", 1) + rest, 0.99
    )
    refused = guard.judge(beginning.format(12) + rest, beginning.format(14) + rest, 0.99)

    assert accepted.reason in {None, RefusalReason.TOO_LONG}
    assert not refused.accepted


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        ("wie viele einwohner hat bremen", "Wie viele Einwohner hat Bremen?"),
        ("¿cuál es la capital de Chile?", "cuál es la capital de chile"),
        ("东京的人口是多少", "东京的人口是多少？"),
        ("какая столица Франции?", "какая столица франции"),
        ("ما هي عاصمة مصر؟", "ما هي عاصمة مصر"),
    ],
)
def test_another_language_is_not_refused_for_spelling_alone(guard: Guard, prompt: str, candidate: str) -> None:
    assert guard.judge(prompt, candidate, NEAR).accepted


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        ("¿Cómo cancelo mi pedido?", "¿Cómo puedo cancelar mi pedido?"),
        ("Wie kündige ich mein Abo?", "Wie kann ich mein Abo kündigen?"),
        ("как отменить заказ", "как мне отменить мой заказ"),
    ],
)
def test_another_wording_in_another_language_is_accepted(guard: Guard, prompt: str, candidate: str) -> None:
    assert guard.judge(prompt, candidate, NEAR).accepted


@pytest.mark.parametrize(
    ("prompt", "candidate", "reason"),
    [
        ("¿Cómo cancelo mi pedido 12?", "¿Cómo puedo cancelar mi pedido 14?", RefusalReason.NUMBER),
        ("combien coûte un billet pour Lyon", "combien coûte un billet pour Nice", RefusalReason.ENTITY),
        ("wie öffne ich die datei a_1.txt", "wie öffne ich die datei b_2.txt", RefusalReason.IDENTIFIER),
        ("hilft Greta heute noch Tomas und wie", "hilft Tomas heute noch Greta und wie", RefusalReason.ROLE),
    ],
)
def test_numbers_names_identifiers_and_order_count_in_another_language(
    guard: Guard, prompt: str, candidate: str, reason: RefusalReason
) -> None:
    assert guard.judge(prompt, candidate, NEAR).reason is reason


def test_the_level_is_the_same_in_another_language(guard: Guard) -> None:
    prompt, candidate = "ist das museum am montag offen", "ist das museum montags offen"
    probability = guard.judge(prompt, candidate, NEAR).probability

    assert probability is not None
    assert Guard(level=probability).judge(prompt, candidate, NEAR).accepted


def test_numbers_count_in_any_language(guard: Guard) -> None:
    verdict = guard.judge("wie weit sind 12 meilen", "wie weit sind 14 meilen", NEAR)

    assert verdict.reason is RefusalReason.NUMBER


def test_a_level_of_one_accepts_only_the_same_text_and_nought_only_obeys_rules() -> None:
    prompt, candidate = "who wrote the blue book", "which hotel in lima has a pool"

    assert not Guard(level=1.0).judge(prompt, candidate, 0.99).accepted
    assert Guard(level=0.0).judge(prompt, candidate, 0.0).accepted


def test_a_level_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError, match=r"1\.5"):
        Guard(level=1.5)


def test_an_explanation_names_the_differences_and_repeats_the_verdict(guard: Guard) -> None:
    explanation = guard.explain("How far are 12 miles?", "How far are 14 miles?", NEAR)

    assert explanation.verdict == guard.judge("How far are 12 miles?", "How far are 14 miles?", NEAR)
    assert explanation.differences[0].reason is RefusalReason.NUMBER
    assert (explanation.differences[0].prompt, explanation.differences[0].candidate) == ("12", "14")
    assert explanation.features["similarity"] == NEAR


def test_an_explanation_keeps_prompt_and_candidate_apart_in_both_directions(guard: Guard) -> None:
    turned = guard.explain("How far are 14 miles?", "How far are 12 miles?", NEAR)

    assert (turned.differences[0].prompt, turned.differences[0].candidate) == ("14", "12")


def test_the_reasons_are_a_closed_set_of_label_values() -> None:
    assert len(REASONS) == len(set(REASONS)) == 23
    assert all(reason.value.replace("_", "").isalpha() for reason in REASONS)
