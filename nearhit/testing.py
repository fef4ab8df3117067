"""Testing: doubles that ship with Nearhit for the tests of applications."""

from __future__ import annotations

import re
import struct
import unicodedata
from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from nearhit.domain.sight import ALL, Sight
from nearhit.domain.vectors import unit_rows
from nearhit.errors import ConfigError
from nearhit.flow.ports import Embeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORD = re.compile(r"\w+")
_SYMBOLS = frozenset("$+<=>^`|~")
_PLACES_PER_WORD = 8
_MAX_DIMENSION = 32_768


class HashEmbedder:
    """Deterministic embedder without a model: texts that share words are near, others are not.

    Every word, and more weakly every run of three bytes in it, is hashed to a few signed places of the
    vector. It knows nothing of meaning. Equal texts give equal vectors on every machine and in every release.

    Args:
        dimension: length of the vectors.

    Raises:
        ConfigError: ``dimension`` is not between 1 and 32768.
    """

    in_process = True

    def __init__(self, dimension: int = 384) -> None:
        if not 1 <= dimension <= _MAX_DIMENSION:
            raise ConfigError(f"dimension={dimension} is not between 1 and {_MAX_DIMENSION}")
        self.name = f"hash/{dimension}"
        self._dimension = dimension

    def __repr__(self) -> str:
        return f"HashEmbedder(dimension={self._dimension})"

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:  # noqa: ARG002 - the port's
        """Embed ``texts``; takes microseconds and never fails."""
        if not texts:
            return Embeddings(np.zeros((0, self._dimension), dtype=np.float32))
        return Embeddings(unit_rows([self._vector(text) for text in texts]))

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` as ``embed`` does."""
        return self.embed(texts, timeout_seconds)

    def sight(self, text: str) -> Sight:
        """Return how much of ``text`` is hashed: all but symbols, of which it knows nothing."""
        if text.isascii() and _SYMBOLS.isdisjoint(text):
            return ALL
        unknown = tuple(one for one in text if unicodedata.category(one)[0] == "S")
        return Sight(unknown=unknown) if unknown else ALL

    def _vector(self, text: str) -> list[float]:
        dimension = self._dimension
        vector = [0.0] * dimension
        for word in _WORD.findall(text.casefold()) or [text]:
            letters = f"<{word}>".encode("utf-8", "surrogatepass")
            digest = blake2b(letters, digest_size=2 * _PLACES_PER_WORD).digest()
            for number in struct.unpack(f"<{_PLACES_PER_WORD}H", digest):
                vector[(number >> 1) % dimension] += 1.0 if number & 1 else -1.0
            for start in range(len(letters) - 2):
                number = crc32(letters[start : start + 3])
                vector[(number >> 1) % dimension] += 1.0 if number & 1 else -1.0
        if not any(vector):  # signs that cancel out, in a very short vector
            vector[0] = 1.0
        return vector
