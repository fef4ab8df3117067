from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from nearhit.embedding.litellm_reply import vectors_of
from nearhit.errors import ContractError


def encoded(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


def item(embedding: object, index: object = None) -> dict[str, Any]:
    return {"embedding": embedding, "index": index}


def test_vectors_come_in_the_order_of_their_index() -> None:
    found = vectors_of("m", [item([0.0, 2.0], 1), item([3.0, 0.0], 0)], 2, None)
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_vectors_without_an_index_come_in_the_order_of_the_reply() -> None:
    assert vectors_of("m", [item([2.0, 0.0]), item([0.0, 2.0])], 2, None).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_numbers_and_base64_give_the_same_vectors() -> None:
    assert vectors_of("m", [item(encoded(3.0, 4.0))], 1, 2) == pytest.approx(np.array([[0.6, 0.8]]))
    assert vectors_of("m", [item([3.0, 4.0])], 1, 2) == pytest.approx(np.array([[0.6, 0.8]]))


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (None, "0 vectors for 2 texts"),
        ([item([1.0, 0.0], 0)], "1 vectors for 2 texts"),
        ([1, 2], "items that are not objects"),
        ([item([1.0, 0.0], 0), item([1.0, 0.0], 0)], r"not a permutation: \[0, 0\]"),
        ([item([1.0, 0.0], 0), item([1.0, 0.0], 2)], r"not a permutation: \[0, 2\]"),
        ([item([1.0, 0.0], 0), item([1.0, 0.0])], "not a permutation"),
        ([item([1.0, 0.0]), item([1.0])], "not an array of numbers"),
        ([item([1.0, 0.0]), item(None)], "vector"),
        ([item([1.0, 0.0]), item([1.0, float("nan")])], "NaN"),
        ([item([1.0, 0.0]), item([0.0, 0.0])], "all zeros"),
        ([item([1.0]), item([1.0])], "1 dimensions, expected 2"),
        ([item(encoded(1.0, 0.0)), item("%%%")], "not base64"),
        ([item(encoded(1.0, 0.0)), item("AAAA")], "3 bytes"),
        ([item(encoded(1.0, 0.0)), item(encoded(1.0, 0.0, 0.0))], "not an array of numbers"),
    ],
)
def test_a_reply_that_breaks_the_contract_is_a_named_error(items: list[Any] | None, reason: str) -> None:
    with pytest.raises(ContractError, match=f"embedder 'm'.*{reason}"):
        vectors_of("m", items, 2, 2)
