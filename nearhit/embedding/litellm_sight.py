"""LiteLLM sight: what is assumed of a hosted model's tokenizer, which no provider hands out.

A model's limit is the ``max_input_tokens`` of litellm's own table, in bytes of UTF-8: no tokenizer gives more tokens
than a text has bytes. Which characters a model tells apart follows from the family of its tokenizer, by its name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from nearhit.domain.sight import ASSUMED_BYTES, Reads

if TYPE_CHECKING:
    from collections.abc import Mapping

# bytes, or single characters with bytes for the rest: nothing is unknown to them
_ALL: Final = re.compile(
    r"text-embedding-(3|ada-002)|mistral-embed|codestral-embed|qwen3-embedding|e5-mistral|voyage-(3|4|code-[34])", re.I
)
# trained on the letters of all scripts in wide use, with an unknown token for rare characters
_LETTERS: Final = re.compile(
    r"multilingual|bge-m3|jina-embeddings-v[345]|embed-v-?[45]|gemini-embedding|text-embedding-00[45]"
    r"|titan-embed-text-v2|nomic-embed-text-v2|arctic-embed-[lm]-v2|embeddinggemma",
    re.I,
)


def reads_of(model: str) -> Reads:
    """Return which characters ``model`` tells apart, by its name; of an unknown one, the Latin ones alone."""
    if _ALL.search(model):
        return Reads.ALL
    return Reads.LETTERS if _LETTERS.search(model) else Reads.LATIN


def bytes_of(model: str, table: Mapping[str, Any]) -> int:
    """Return how many bytes fit into ``model`` for certain, by litellm's table; 512 where it does not say."""
    for name in (model, model.partition("/")[2], model.rpartition("/")[2]):
        limit = (table.get(name) or {}).get("max_input_tokens")
        if isinstance(limit, int) and limit > 0:
            return limit
    return ASSUMED_BYTES
