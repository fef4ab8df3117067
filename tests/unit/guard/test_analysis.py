"""Analysis: words and their kinds."""

from __future__ import annotations

import pytest

from nearhit.guard.analysis import analyse
from nearhit.guard.compare import same_word
from nearhit.guard.words import stem


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("twenty five boxes", ["25"]),
        ("three hundred boxes", ["300"]),
        ("1,500 boxes", ["1500"]),
        ("2.50 and 2.5", ["2.5", "2.5"]),
        ("one third of 9", ["3"]),
        ("1/4 of $8", ["2"]),
        ("half of 60 boxes", ["30"]),
        ("0.4 times of ten", ["4"]),
        ("2 of 10 boxes", ["10", "2"]),
        ("two hundred thousand boxes", ["200000"]),
        ("a dozen eggs", ["12"]),
    ],
)
def test_numbers_are_read_in_digits_and_in_words(text: str, numbers: list[str]) -> None:
    assert analyse(text).numbers == numbers


@pytest.mark.parametrize(
    ("one", "other"),
    [("cities", "city"), ("stopped", "stop"), ("walking", "walk"), ("boxes", "box")],
)
def test_forms_of_a_word_share_their_stem(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("organiz", "organization", True),
        ("recieve", "receive", True),
        ("austria", "australia", False),
        ("hope", "hopeless", False),
        ("cat", "car", False),
    ],
)
def test_derived_and_misspelt_words_are_one_and_lookalikes_are_not(one: str, other: str, same: bool) -> None:
    assert same_word(one, other) is same_word(other, one) is same


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("How many owls are there?", "how_many"),
        ("who is it", "who"),
        ("Is it raining?", "yesno"),
        ("print the list", "command"),
    ],
)
def test_the_question_type_is_read(text: str, question: str) -> None:
    assert analyse(text).question == question


def test_a_self_correction_is_placed_before_what_replaces_it() -> None:
    analysis = analyse("Who built no sorry who painted the hall?")

    assert analysis.keys[analysis.edits[-1] :] == [stem("painted"), stem("hall")]


def test_quoted_strings_are_collected_in_any_quotes() -> None:
    assert analyse("find 'Blue Door' and \"red\" or “Green”").quoted == {"blue door", "red", "green"}


def test_an_apostrophe_is_no_quote() -> None:
    assert analyse("the dog's bone and the cats' bowl").quoted == frozenset()


def test_file_names_options_and_paths_are_identifiers() -> None:
    from nearhit.guard.words import K_IDENTIFIER

    analysis = analyse("run make_all.sh with -x in /usr/lib")

    assert [key for key, kind in zip(analysis.keys, analysis.kinds, strict=True) if kind == K_IDENTIFIER] == [
        "make_all.sh",
        "-x",
        "/usr/lib",
    ]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("How do I cancel my order?", False),
        ("Where was José Luis Rodríguez born?", False),
        ("hotels in Los Angeles", False),
        ("iphone 12 price", False),
        ("Is the café Zürich open?", False),
        ("¿Cómo cancelo mi pedido?", True),
        ("wie kündige ich mein abo", True),
        ("comment annuler ma commande", True),
        ("dove si trova il museo", True),
        ("как отменить заказ", True),
        ("як скасувати замовлення", True),
        ("주문을 어떻게 취소하나요", True),
        ("如何取消订单", True),
    ],
)
def test_a_text_in_another_language_is_told_by_script_and_frequent_words(text: str, plain: bool) -> None:
    assert analyse(text).plain is plain


def test_a_text_in_another_language_has_no_english_words() -> None:
    analysis = analyse("wo ist das museum am 12 markt in Bremen und was kostet es")

    assert analysis.function == frozenset()
    assert "in" in analysis.keys
    assert analysis.numbers == ["12"]
