from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.errors import ConfigError
from nearhit.testing import HashEmbedder


def similarities(*texts: str) -> list[float]:
    """Similarity of the first text to each of the others."""
    vectors = HashEmbedder().embed(texts, 1.0).vectors
    found: list[float] = (vectors[1:] @ vectors[0]).tolist()
    return found


def test_texts_that_share_words_are_near_and_strangers_are_not() -> None:
    near, stranger = similarities(
        "How do I reset the password of my account?",
        "How can I reset my account password",
        "The weather in Paris is fine today",
    )
    assert near > 0.7
    assert stranger < 0.3


def test_case_punctuation_and_order_do_not_count() -> None:
    assert similarities("Reset my password!", "my PASSWORD: reset")[0] == pytest.approx(1.0, abs=1e-6)


def test_vectors_are_the_same_in_every_release() -> None:
    vector = HashEmbedder(4).embed(["reset my password"], 1.0).vectors[0]
    assert vector == pytest.approx(np.array([1, 1, 3, 0]) / np.sqrt(11), abs=1e-6)


@given(text=st.text(max_size=40), dimension=st.integers(1, 12))
def test_every_text_has_a_unit_vector_in_every_dimension(text: str, dimension: int) -> None:
    vectors = HashEmbedder(dimension).embed([text], 1.0).vectors
    assert vectors.shape == (1, dimension)
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-5)


def test_a_lone_surrogate_has_a_vector_too() -> None:
    assert HashEmbedder(8).embed(["\ud800"], 1.0).vectors.shape == (1, 8)


@pytest.mark.parametrize("dimension", [0, -1, 32769])
def test_an_impossible_dimension_is_refused_by_name(dimension: int) -> None:
    with pytest.raises(ConfigError, match=f"dimension={dimension}"):
        HashEmbedder(dimension)
