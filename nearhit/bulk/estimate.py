"""Estimate: rows, tokens, cost and memory of a load, without loading."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nearhit.bulk.load import find_files
from nearhit.bulk.rows import Columns, format_of, read_rows
from nearhit.domain.fill_message import decode
from nearhit.errors import ConfigError, ContractError
from nearhit.write.fill_encoding import fill_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.settings import Settings

_CHARS_PER_TOKEN = 4.0
"""Characters of English text that make a token, roughly, for every tokenizer in use."""

_OVERHEAD_BYTES = 700
"""Bytes of an entry besides prompt, answer and vector: key, fields, index links (measured: see docs/index.md)."""

_MAX_EXAMPLES = 10


@dataclass(slots=True)
class Estimate:
    """What a load would do.

    Attributes:
        good: rows that would be filled.
        bad: rows that would be rejected.
        prompt_chars: characters to embed.
        bytes: memory that the entries would take, roughly, the index included.
        carried: rows that carry their vector.
        examples: places and reasons of the first bad rows.
    """

    dimension: int
    model: str
    good: int = 0
    bad: int = 0
    prompt_chars: int = 0
    bytes: int = 0
    carried: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Tokens to embed, roughly."""
        return round(self.prompt_chars / _CHARS_PER_TOKEN)

    @property
    def dollars(self) -> float | None:
        """What embedding them costs by LiteLLM's price table; ``None`` where it has no price."""
        return embedding_dollars(self.model, self.tokens)

    def values(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return {
            "good": self.good,
            "bad": self.bad,
            "carried_vectors": self.carried,
            "embed_tokens": self.tokens,
            "embed_dollars": self.dollars,
            "memory_bytes": self.bytes,
            "examples": [{"place": place, "reason": reason} for place, reason in self.examples],
        }

    def pairs(self) -> list[tuple[str, str]]:
        """Return the figures as people read them."""
        dollars = self.dollars
        costs = "nothing" if dollars == 0 else "unknown" if dollars is None else f"about ${dollars:.4f}"
        return [
            ("good rows", f"{self.good:,}"),
            ("bad rows", f"{self.bad:,}"),
            ("vectors carried", f"{self.carried:,}"),
            ("to embed", f"about {self.tokens:,} tokens with {self.model}"),
            ("embedding costs", costs),
            ("memory", f"about {self.bytes / 2**20:,.1f} MiB"),
        ]


def estimate(settings: Settings, patterns: Sequence[str], kind: str, columns: Columns) -> Estimate:
    """Read all rows and say what loading them would do.

    Raises:
        ConfigError: a file is not there or cannot be read.
    """
    provider, _, name = settings.model.partition("/")
    dimension = {"local": 384, "hash": int(name) if name.isdigit() else 0}.get(provider, 1536)
    found = Estimate(dimension, settings.model)
    lifetimes = settings.lifetimes()
    for path in find_files(patterns):
        for row in read_rows(path, format_of(path, kind)):
            try:
                _, blob = fill_of(columns.fill_row(row.checked), lifetimes)
            except (ContractError, ConfigError) as error:
                found.bad += 1
                if len(found.examples) < _MAX_EXAMPLES:
                    found.examples.append((f"{row.source}:{row.number}", str(error)))
                continue
            fill = decode(blob)
            found.good += 1
            found.carried += bool(fill.embedding)
            found.prompt_chars += 0 if fill.embedding else len(fill.prompt)
            vectors = 2 * 4 * found.dimension  # the hash holds it, and the index does
            found.bytes += len(fill.prompt.encode()) + len(fill.response) + vectors + _OVERHEAD_BYTES
    return found


def embedding_dollars(model: str, tokens: int) -> float | None:
    """Return the price of embedding ``tokens``, 0.0 for models of this process, ``None`` where it is unknown."""
    if model.startswith(("local/", "hash/")):
        return 0.0
    from nearhit.llm.client import price_per_token  # noqa: PLC0415 - litellm is heavy

    price = price_per_token(model)
    return None if price is None else price * tokens
