"""Tokens: texts as the padded rows of token numbers that all-MiniLM-L6-v2 reads."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from nearhit.domain.sight import ALL, Sight, is_punctuation, spellings, visible
from nearhit.embedding.minilm.architecture import MAX_TOKENS
from nearhit.errors import ConfigError, ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MAX_CHARACTERS = 8_000
"""What is read of a text: 256 tokens are some 1,200 characters; splitting a whole megabyte takes 1 s."""

_LONGEST_WORD = 100
"""A word of more letters is unknown to this tokenizer; all shorter ones in ASCII are known."""
_NEVER_CUT = MAX_TOKENS - 2
"""An ASCII text of so many characters fits, with the two tokens around it."""
_UNKNOWN = "[UNK]"
_SIGHTS = 512
"""Texts whose sight is remembered; the longest have 32,000 characters."""


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
        self._unknown: int | None = self._pieces.token_to_id(_UNKNOWN)
        self._look = lru_cache(maxsize=_SIGHTS)(self._read_again)
        self._normalised = lru_cache(maxsize=4096)(self._pieces.normalizer.normalize_str)

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token numbers of every text, at most 256 each.

        Raises:
            ContractError: a text is not valid Unicode (a lone surrogate).
        """
        try:
            return [self._pieces.encode(text[:MAX_CHARACTERS]).ids for text in texts]
        except _NOT_UNICODE as error:
            raise ContractError(f"a text is not a string of valid Unicode: {error}") from error

    def sight(self, text: str) -> Sight:
        """Return how much of ``text`` the model reads; nothing to do for a short text in ASCII, else remembered.

        Raises:
            ContractError: the text is not valid Unicode.
        """
        if len(text) > _NEVER_CUT or not text.isascii():
            return self._look(text)
        short = len(text) <= _LONGEST_WORD or max(map(len, text.split()), default=0) <= _LONGEST_WORD
        return ALL if short else self._look(text)

    def _read_again(self, text: str) -> Sight:
        try:
            pieces = self._pieces.encode(text[:MAX_CHARACTERS])
        except _NOT_UNICODE as error:
            raise ContractError(f"a text is not a string of valid Unicode: {error}") from error
        # the place behind the last character that was read; the closing token has none
        cut = max(end for _, end in pieces.offsets) if pieces.overflowing else None
        if cut is None and len(text) > MAX_CHARACTERS:
            cut = MAX_CHARACTERS
        # the pieces that became the unknown token and the characters that became none, in their order
        known = zip(pieces.offsets, pieces.ids, strict=True)
        found = [(start, visible(text[start:end])) for (start, end), number in known if number == self._unknown]
        if not text.isascii():
            found += [(place, one) for place, one in enumerate(text[:cut]) if not one.isascii() and self._drops(one)]
        unknown = tuple(piece for _, piece in sorted(found) if not is_punctuation(piece))
        words = {} if text.isascii() else spellings(text[:cut])
        return Sight(cut, unknown, words) if cut is not None or unknown or words else ALL

    def _drops(self, character: str) -> bool:
        """Return whether nothing is left of a character that says something."""
        return unicodedata.category(character) not in _SILENT and not self._normalised(character).strip()


_NOT_UNICODE = (TypeError, UnicodeEncodeError)  # a TypeError is how the library names a lone surrogate
_SILENT = frozenset({"Cc", "Cf", "Mn", "Zs", "Zl", "Zp"})
"""Kinds of characters that may vanish: control characters and joiners, accents, white space."""


def padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``(ids, mask)``, both ``(n, longest) int64``; the mask is 1 where there is a token."""
    longest = max(len(row) for row in rows)
    ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask
