"""Bulk embedding: embeds a long list of texts in calls of a fair size, on several threads where that helps."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nearhit.flow.ports import Embedder

_CALL = 128
_SECONDS = 120.0


def embed_many(
    embedder: Embedder, texts: Sequence[str], tell: Callable[[int, int], None] = lambda _done, _all: None
) -> NDArray[np.float32]:
    """Return the ``(n, dim) float32`` unit rows of ``texts``, in their order.

    Args:
        embedder: what embeds them.
        texts: any number of them; sorted by length inside, so that a call holds texts of like length.
        tell: is told how many of how many are done.

    Raises:
        ContractError: a text can never be embedded.
        EmbedderUnavailableError: the embedder does not answer.
    """
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    calls = [order[start : start + _CALL] for start in range(0, len(order), _CALL)]
    if not calls:
        return np.empty((0, 0), dtype=np.float32)
    rows: NDArray[np.float32] | None = None
    done = 0
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        made = pool.map(lambda call: embedder.embed([texts[at] for at in call], _SECONDS).vectors, calls)
        for call, vectors in zip(calls, made, strict=True):
            if rows is None:
                rows = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
            rows[call] = vectors
            done += len(call)
            tell(done, len(texts))
    assert rows is not None  # noqa: S101 - there was at least one call
    return rows
