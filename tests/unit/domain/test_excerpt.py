"""Excerpts: the sentences in which two long texts differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.excerpt import LONGEST, SHARE, SHORTEST, excerpts

CONTEXT = "The tram to the harbour leaves every ten minutes. It stops at the museum! Is it late? " * 6


@pytest.mark.parametrize(
    ("prompt", "candidate", "found"),
    [
        (CONTEXT + "How do I cancel?", CONTEXT + "Where do I sit?", ("How do I cancel?", "Where do I sit?")),
        ("How do I cancel? " + CONTEXT, "Where do I sit? " + CONTEXT, ("How do I cancel?", "Where do I sit?")),
        (CONTEXT + "Well. How much?", CONTEXT + "Well. How many?", ("How much?", "How many?")),
        (CONTEXT + "A. B?", CONTEXT + "C. B?", None),  # in the middle
        (CONTEXT + "How do I cancel?", CONTEXT, None),  # nothing in its place
        (
            CONTEXT + "\n如何重置我的密码？",
            CONTEXT + "\n如何删除我的账户？",
            ("如何重置我的密码？", "如何删除我的账户？"),
        ),
        (CONTEXT + "x" * 1_001, CONTEXT + "How many?", None),
        (CONTEXT[:150] + "How do I cancel?", CONTEXT[:150] + "Where do I sit?", None),
        ("word " * 100 + "cats", "word " * 100 + "dogs", None),  # no sentence begins
    ],
)
def test_the_sentences_that_differ_at_one_end_are_found(
    prompt: str, candidate: str, found: tuple[str, str] | None
) -> None:
    assert excerpts(prompt, candidate) == found
    assert excerpts(candidate, prompt) == (found and found[::-1])


PIECES = st.lists(st.sampled_from(["One is. ", "Two are? ", "no end ", "。", "\n", "x" * 90, ". "]), max_size=14)


@given(PIECES, PIECES, PIECES, PIECES)
def test_what_is_left_out_is_the_same_in_both(a: list[str], b: list[str], c: list[str], d: list[str]) -> None:
    one, other = "".join(a + b + d), "".join(a + c + d)
    found = excerpts(one, other)
    if found is not None:
        assert min(len(one), len(other)) >= SHORTEST
        assert max(map(len, found)) <= min(LONGEST, max(len(one), len(other)) // SHARE)
        assert all(found)
        outside = {text.strip().removesuffix(part).strip() for text, part in zip((one, other), found, strict=True)}
        behind = {text.strip().removeprefix(part).strip() for text, part in zip((one, other), found, strict=True)}
        assert len(outside) == 1 or len(behind) == 1
