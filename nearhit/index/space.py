"""Space: where lookups search: a namespace with the entries of one embedder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearhit.embedding.vector_cache import VectorCache
    from nearhit.index.engine import Engine
    from nearhit.valkey.key_names import CacheKeys


@dataclass(frozen=True, slots=True)
class Space:
    """Where lookups search: a namespace with the entries of one embedder.

    Attributes:
        keys: names on the server.
        dimension: length of the vectors.
        engine: what searches.
        vectors: vectors of texts that this process embedded already.
        run_id: of the server when it was opened, to tell a restart from a drop; empty where nobody may ask.
    """

    keys: CacheKeys
    dimension: int
    engine: Engine
    vectors: VectorCache
    run_id: str = ""
