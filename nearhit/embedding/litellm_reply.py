"""LiteLLM reply: the vectors of an embedding response, checked and in the order of the texts (pure)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from nearhit.domain.vectors import from_bytes, unit_rows
from nearhit.errors import ContractError, VectorError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


def vectors_of(
    model: str, items: Sequence[Mapping[str, Any]] | None, count: int, dimension: int | None
) -> NDArray[np.float32]:
    """Return ``(count, dim) float32, unit rows`` from the ``data`` of a response.

    Args:
        model: the model string, for messages.
        items: objects with ``embedding`` (numbers, or base64 of float32 little endian) and, of most providers,
            ``index``; any order.
        count: how many texts were sent.
        dimension: what ``dim`` must be; ``None`` takes what comes.

    Raises:
        ContractError: another count, indexes that are no order, or vectors that are no finite directions.
    """
    found = len(items) if items else 0
    if items is None or found != count:
        raise ContractError(f"embedder {model!r} gave {found} vectors for {count} texts")
    if not all(hasattr(item, "get") for item in items):
        raise ContractError(f"embedder {model!r} returned items that are not objects")
    places = [item.get("index") for item in items]
    if any(place is not None for place in places):
        if sorted(map(repr, places)) != sorted(map(repr, range(count))):
            raise ContractError(
                f"embedder {model!r} returned vectors whose indexes are not a permutation: {places[:20]}"
            )
        items = sorted(items, key=lambda item: int(item["index"]))
    try:
        rows: Any = [_numbers(item.get("embedding")) for item in items]
        return unit_rows(rows, dimension)
    except VectorError as error:
        raise VectorError(f"embedder {model!r}: {error}") from error


def tokens_of(usage: Any) -> int:
    """Return the tokens that a response's ``usage`` counts; 0 where it does not say."""
    tokens = getattr(usage, "total_tokens", None) or getattr(usage, "prompt_tokens", None)
    return tokens if isinstance(tokens, int) else 0


def _numbers(embedding: object) -> object:
    """Return what numpy makes a row of; base64 costs a tenth of parsing numbers."""
    if not isinstance(embedding, str):
        return embedding
    try:
        return from_bytes(base64.b64decode(embedding, validate=True))
    except binascii.Error as error:
        raise VectorError(f"a vector is not base64: {error}") from error
