"""Products: matrix products in pieces so small that a BLAS library starts no threads for them.

Threads of a library pay where one process has the machine to itself. A server has many, each with as many threads as
there are cores, which wait for each other by spinning: 30 processes that opened a replica at once took 24 s and more
instead of 1.4 s. OpenBLAS multiplies a matrix with a vector on one thread below 9,216 elements, and two matrices below
262,144 multiplications (0.3.31, interface/gemv.c and gemm.c); in such pieces a product takes as long as on one thread.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MATRIX_ELEMENTS = 9_215
_MULTIPLICATIONS = 262_144
_MOST_ROWS = 512


@cache
def piece_rows(dimension: int) -> int:
    """Return of how many rows of a matrix a piece is, a power of two."""
    return 1 << min(max(_MATRIX_ELEMENTS // dimension, 1), _MOST_ROWS).bit_length() - 1


def padded(rows: int, dimension: int) -> int:
    """Return how many rows a matrix needs for ``rows`` of them to be whole pieces."""
    size = piece_rows(dimension)
    return -(-rows // size) * size


def with_vector(matrix: NDArray[Any], vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``matrix @ vector``.

    Args:
        matrix: ``(n, dim)``, contiguous; ``n`` is a multiple of ``piece_rows(dim)``.
        vector: ``(dim,) float32``.
    """
    size, dimension = piece_rows(vector.size), vector.size
    pieces = matrix.astype(np.float32, copy=False).reshape(-1, size, dimension)
    product: NDArray[np.float32] = np.matmul(pieces, vector).reshape(-1)
    return product


def signs(rows: NDArray[np.float32], planes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return ``rows @ planes.T > 0``.

    Args:
        rows: ``(n, dim) float32``.
        planes: ``(m, dim) float32``, contiguous; ``m`` is a multiple of ``piece_rows(dim)``.
    """
    count, dimension = rows.shape
    if count == 1:
        return (with_vector(planes, rows[0]) > 0)[None, :]
    width = piece_rows(dimension)
    at_once = max(_MULTIPLICATIONS // (width * dimension), 1)
    pieces = planes.reshape(-1, width, dimension).transpose(0, 2, 1)
    whole = count // at_once * at_once
    parts = [rows[:whole].reshape(-1, 1, at_once, dimension), rows[whole:].reshape(1, 1, count - whole, dimension)]
    found = [
        (np.matmul(part, pieces) > 0).transpose(0, 2, 1, 3).reshape(-1, len(planes)) for part in parts if part.size
    ]
    return np.concatenate(found)
