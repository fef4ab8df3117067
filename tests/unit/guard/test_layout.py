"""Layout: indentation of several lines, and signs, are differences of their own."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.guard import Guard, RefusalReason

CODE = "What does this print?\nfor n in rows:\n    total += n\n    print(total)"
YAML = "Is this right?\njob:\n  steps:\n    - build\n    - test"


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard()


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        (CODE, CODE.replace("    print", "print")),
        (CODE, CODE.replace("    ", "")),
        (CODE, " ".join(CODE.split())),
        (CODE, "Please tell: " + CODE.replace("    print", "print")),
        (YAML, YAML.replace("    - test", "  - test")),
        (YAML, YAML.replace("  steps", "steps")),
        (YAML.replace("\n    - test", " - test"), YAML),
        (CODE, CODE.replace("    total += n\n    print(total)", "    total += n print(total)")),
    ],
)
def test_another_indentation_asks_about_another_text(guard: Guard, prompt: str, candidate: str) -> None:
    for one, other in ((prompt, candidate), (candidate, prompt)):
        verdict = guard.judge(one, other, 1.0)
        assert (verdict.accepted, verdict.reason) == (False, RefusalReason.INDENTATION)
        assert guard.explain(one, other, 1.0).differences[0].reason is RefusalReason.INDENTATION


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        (CODE, CODE.replace("    ", "\t")),
        (CODE, CODE.replace("    ", "  ")),
        (CODE, CODE.replace("\n", " \r\n") + "\n\n"),
        (CODE, textwrap.indent(CODE, "    ")),
        (YAML, YAML.replace("?\n", "?\n\n")),
        ("How do I reset\nmy password?", "How do I reset my\npassword?"),
        ("How do I reset my password?", "How do I\nreset my password?"),
        ("How do I reset my password?\n", "How can I reset my password?"),
    ],
)
def test_the_same_depth_written_otherwise_is_no_difference(guard: Guard, prompt: str, candidate: str) -> None:
    assert guard.judge(prompt, candidate, 0.97).accepted
    assert guard.judge(candidate, prompt, 0.97).accepted


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        ("is it right that a ≤ b", "is it right that a ≥ b"),
        ("is it right that x≤5 for all of them", "is it right that x≥5 for all of them"),
        ("does ∀ x hold here", "does ∃ x hold here"),
        ("read ∀x ∃y aloud", "read ∃y ∀x aloud"),
        ("what does 👍 mean", "what does 👎 mean"),
        ("what is 6 × 3", "what is 6 ÷ 3"),
    ],
)
def test_another_sign_asks_another_question(guard: Guard, prompt: str, candidate: str) -> None:
    for one, other in ((prompt, candidate), (candidate, prompt)):
        verdict = guard.judge(one, other, 1.0)
        assert (verdict.accepted, verdict.reason) == (False, RefusalReason.SYMBOL)


def test_a_sign_in_one_text_alone_is_left_to_the_words(guard: Guard) -> None:
    assert guard.judge("How do I reset my password? 🙂", "How do I reset my password?", 0.97).accepted


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["if a:", "b", "- c", "d: e"])), max_size=8))
def test_a_shift_of_the_whole_and_another_width_change_nothing(lines: list[tuple[int, str]]) -> None:
    text = "\n".join("  " * depth + line for depth, line in lines)
    other = "\n".join("      " + "   " * depth + line for depth, line in lines)
    reason = Guard().judge(text, other, 1.0).reason
    assert reason is not RefusalReason.INDENTATION
