"""Vectors: unit rows or an error by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.vectors import from_bytes, to_bytes, unit_rows
from nearhit.errors import VectorError

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.integers(1, 8).flatmap(lambda dim: st.lists(st.lists(NUMBERS, min_size=dim, max_size=dim), min_size=1)))
def test_every_row_has_length_one_and_its_direction(rows: list[list[float]]) -> None:
    if not all(any(row) for row in rows):
        with pytest.raises(VectorError, match="zeros"):
            unit_rows(rows)
        return
    made = unit_rows(rows)
    assert made.dtype == np.dtype("<f4")
    assert np.allclose(np.linalg.norm(made.astype(np.float64), axis=1), 1.0, atol=1e-5)
    for row, unit in zip(rows, made, strict=True):
        peak = int(np.argmax(np.abs(row)))
        assert np.sign(unit[peak]) == np.sign(row[peak])


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_bytes_hold_what_they_were_made_of(values: list[float]) -> None:
    vector = np.array(values, dtype=np.float32)
    assert from_bytes(to_bytes(vector), len(values)).tolist() == vector.tolist()


def test_the_bytes_of_a_vector_are_float32_little_endian() -> None:
    assert to_bytes(np.array([1.0, -2.0], dtype=np.float32)) == b"\x00\x00\x80\x3f\x00\x00\x00\xc0"


@pytest.mark.parametrize(
    "values",
    [
        *([1.0, 2.0], [[[1.0]]], [[1.0], [1.0, 2.0]], [["a"]], [[None]], 5, [[float("nan")]], [[float("inf")]]),
        *([[0.0, 0.0]], [[1.0], [0.0]], [[]], [[1j]]),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_what_is_no_unit_vector_is_refused(values: Any) -> None:
    with pytest.raises(VectorError):
        unit_rows(values)


def test_another_dimension_is_refused_with_both_figures() -> None:
    with pytest.raises(VectorError, match="2 dimensions, expected 3"):
        unit_rows([[1.0, 2.0]], 3)
    with pytest.raises(VectorError, match="2 dimensions, expected 3"):
        from_bytes(b"\0" * 8, 3)


@pytest.mark.parametrize("blob", [b"", b"\0", b"\0" * 7])
def test_bytes_that_are_no_row_are_refused(blob: bytes) -> None:
    with pytest.raises(VectorError):
        from_bytes(blob)
