"""Tokens: texts as the padded rows of token numbers that all-MiniLM-L6-v2 reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearhit.embedding.minilm.architecture import MAX_TOKENS
from nearhit.errors import ConfigError, ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAX_CHARACTERS = 8_000
"""What is read of a text: 256 tokens are some 1,200 characters; splitting a whole megabyte takes 1 s."""


class Tokenizer:
    """Word pieces of one model folder.

    Safe to share between threads and after a fork: texts are split one at a time, because the batch call of
    the tokenizers library starts threads of its own that a forked child does not have.
    """

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer as WordPieces  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise ConfigError("the local model needs the package tokenizers: pip install 'nearhit[local]'") from error
        try:
            self._pieces = WordPieces.from_file(str(path))
        except Exception as error:
            raise ConfigError(f"tokenizer file {path} cannot be read: {error}") from error
        # the file asks for padding to a fixed 128, which would make a short prompt cost ten times as much
        self._pieces.no_padding()
        self._pieces.enable_truncation(MAX_TOKENS)

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token numbers of every text, at most 256 each.

        Raises:
            ContractError: a text is not valid Unicode (a lone surrogate).
        """
        try:
            return [self._pieces.encode(text[:MAX_CHARACTERS]).ids for text in texts]
        except (
            TypeError,
            UnicodeEncodeError,
        ) as error:  # a TypeError is how the library names a lone surrogate
            raise ContractError(f"a text is not a string of valid Unicode: {error}") from error


def padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``(ids, mask)``, both ``(n, longest) int64``; the mask is 1 where there is a token."""
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask
