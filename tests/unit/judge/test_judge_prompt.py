"""What a language model is asked, and how its reply is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.errors import ContractError
from nearhit.flow.ports import Sameness
from nearhit.judge.judge_prompt import MAX_CHARACTERS, messages, read_reply

SAME, DIFFERENT, UNSURE = Sameness.SAME, Sameness.DIFFERENT, Sameness.UNSURE


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_can_end_its_quoting(prompt: str, candidate: str) -> None:
    system, user = messages(prompt, candidate)
    assert (system["role"], user["role"]) == ("system", "user")
    assert json.loads(user["content"]) == {"asked": prompt, "cached": candidate}
    assert system == messages("", "")[0]


@pytest.mark.parametrize("text", ["x" * (MAX_CHARACTERS + 1), "a lone \ud800 surrogate"], ids=["too long", "surrogate"])
def test_a_text_that_cannot_be_sent_whole_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        messages(text, "b")
    with pytest.raises(ContractError):
        messages("a", text)


@pytest.mark.parametrize(
    ("reply", "verdict", "probability"),
    [
        ('{"verdict": "same", "p_same": 0.93}', SAME, 0.93),
        ('{"verdict": "different", "p_same": 0.04}', DIFFERENT, 0.04),
        ('{"verdict": "different", "p_same": 0.98}', DIFFERENT, 0.02),
        ('{"verdict": "unsure", "p_same": 0.5}', UNSURE, 0.5),
        ('{"verdict": "same", "p_same": 0.3}', UNSURE, 0.3),
        ('{"verdict": "Same"}', SAME, 1.0),
        ('{"verdict": "same", "p_same": "0.8"}', SAME, 0.8),
        ('{"verdict": "same", "p_same": 97}', SAME, 1.0),
        ('{"verdict": "same", "p_same": NaN}', SAME, 1.0),
        ('{"verdict": "different", "p_same": null}', DIFFERENT, 0.0),
        ('```json\n{"verdict": "same", "p_same": 0.9}\n```', SAME, 0.9),
        ('Both ask for the price.\n{"p_same": 0.9, "verdict": "same"}', SAME, 0.9),
        ('<think>They say {"verdict": "same"} but…</think>{"verdict": "different", "p_same": 0.1}', DIFFERENT, 0.1),
        ('{"verdict": "same", "p_same": 0.9} {"verdict": "same", "p_same": 0.7}', SAME, 0.7),
        ("same", SAME, 1.0),
        ("Different.", DIFFERENT, 0.0),
        ("**unsure**", UNSURE, 0.5),
    ],
)
def test_a_verdict_is_read(reply: str, verdict: Sameness, probability: float) -> None:
    said, likely = read_reply(reply, 0.5)
    assert said is verdict
    assert likely == pytest.approx(probability)


@pytest.mark.parametrize(
    "reply",
    [
        *(
            None,
            7,
            "",
            "yes",
            "the same thing",
            "not the same",
            "[]",
            "{}",
            "{",
            '{"verdict": 1}',
            '{"verdict": "maybe"}',
        ),
        '{"verdict": "same"',
        '{"verdict": "same"} or {"verdict": "different"}',
        'You said "{"verdict": "same"}", but {"verdict": "different", "p_same": 0.1}',
    ],
    ids=str,
)
def test_a_reply_without_one_verdict_is_none(reply: object) -> None:
    with pytest.raises(ContractError, match="verdict"):
        read_reply(reply, 0.5)


@given(st.text())
def test_any_reply_is_a_verdict_or_an_error_of_ours(reply: str) -> None:
    try:
        verdict, probability = read_reply(reply, 0.5)
    except ContractError:
        return
    assert verdict in Sameness
    assert 0.0 <= probability <= 1.0
