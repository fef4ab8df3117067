"""Vectors: checks and scales vectors to unit float32 rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearhit.errors import VectorError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LITTLE_FLOAT32 = np.dtype("<f4")

_UNIT_ROUNDING = 1e-4
"""How far the square of a unit row's length is from 1 in float32, for up to 32,768 dimensions."""


def unit_rows(values: ArrayLike, dimension: int | None = None) -> NDArray[np.float32]:
    """Return the rows of ``values`` scaled to unit length.

    Unit length is a promise of the whole cache: valkey-search before 1.2.1 gives wrong cosine distances for other
    vectors on its pre-filter path.

    Args:
        values: ``(n, dim)`` numbers.
        dimension: what ``dim`` must be; ``None`` takes what comes.

    Returns:
        ``(n, dim)`` float32, little endian, unit rows, C order.

    Raises:
        VectorError: not two-dimensional, another dimension, a NaN or infinity, or a row of zeros.
    """
    try:
        rows = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise VectorError(f"the vectors are not an array of numbers: {error}") from error
    if rows.ndim != 2:
        raise VectorError(f"the vectors have {rows.ndim} axes, expected 2: (n, dim)")
    if dimension is not None and rows.shape[1] != dimension:
        raise VectorError(f"a vector has {rows.shape[1]} dimensions, expected {dimension}")
    if not np.isfinite(rows).all():
        raise VectorError("a vector holds NaN or infinity")
    peaks = np.abs(rows).max(axis=1, initial=0.0)
    if not peaks.all():
        raise VectorError("a vector is all zeros and has no direction")
    rows = rows / peaks[:, None]  # first by the peak, so that the squares can neither overflow nor vanish
    rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return np.ascontiguousarray(rows, dtype=_LITTLE_FLOAT32)


def checked_rows(values: ArrayLike, count: int) -> NDArray[np.float32]:
    """Return what an embedder gave for ``count`` texts as unit rows; rows that are so already are passed on untouched.

    Raises:
        VectorError: as for ``unit_rows``, or there is not one row for each text.
    """
    rows = values if isinstance(values, np.ndarray) and values.dtype == _LITTLE_FLOAT32 and values.ndim == 2 else None
    # NaN is not below anything
    if rows is None or not (np.abs(np.einsum("ij,ij->i", rows, rows) - 1.0) < _UNIT_ROUNDING).all():
        rows = unit_rows(values)
    if len(rows) != count:
        raise VectorError(f"the embedder gave {len(rows)} vectors for {count} texts")
    return rows


def to_bytes(vector: NDArray[np.float32]) -> bytes:
    """Return a ``(dim,)`` vector as float32 little endian bytes."""
    return np.ascontiguousarray(vector, dtype=_LITTLE_FLOAT32).tobytes()


def from_bytes(blob: bytes, dimension: int | None = None) -> NDArray[np.float32]:
    """Return the ``(dim,)`` float32 vector that ``blob`` holds, unchecked for length one.

    Raises:
        VectorError: the length is not a whole number of float32, or not that of ``dimension``.
    """
    if len(blob) % 4 or not blob:
        raise VectorError(f"a vector of {len(blob)} bytes is not a row of float32")
    if dimension is not None and len(blob) != 4 * dimension:
        raise VectorError(f"a vector has {len(blob) // 4} dimensions, expected {dimension}")
    return np.frombuffer(blob, dtype=_LITTLE_FLOAT32)
