"""Search protocol: the commands of a lookup as arguments and their replies as values, for valkey-search 1.0 to 1.2.

Links send them as they are: redis-py's own search client cannot read these replies under RESP3. Source of the shapes:
recorded replies of valkey-search 1.2.1, replayed by ``tests/contract/test_protocol_replay.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain import entry
from nearhit.domain.neighbour import Neighbour
from nearhit.errors import ContractError
from nearhit.valkey.packed_command import CommandTemplate, PackedCommand
from nearhit.valkey.replies import mapping

if TYPE_CHECKING:
    from nearhit.flow.steps import Command

DISTANCE = b"distance"
RETURNED = (DISTANCE, *entry.READ_FIELDS)


@dataclass(frozen=True, slots=True)
class Hnsw:
    """Settings of the HNSW graph; the defaults are measured, see docs/index.md.

    Attributes:
        m: links of a node: more is better recall and more memory.
        ef_construction: candidates while inserting: more is a better graph and slower inserts.
        ef_runtime: candidates while searching: more is better recall and slower searches.
    """

    m: int = 16
    ef_construction: int = 200
    ef_runtime: int = 40


@dataclass(frozen=True, slots=True)
class Shape:
    """What an index must look like for us to use it."""

    prefix: str
    dimension: int
    metric: str = "COSINE"
    algorithm: str = "HNSW"


class SearchResult(Neighbour, frozen=True):
    """A row of an FT.SEARCH reply: a neighbour, with the cosine distance as the server says it.

    A distance is NaN where a stored vector is, and the similarity with it: such a row is last, and never near.
    """

    distance: float


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What FT.INFO says about an index.

    Attributes:
        name: index name.
        shape: prefix, dimension, metric and algorithm as the server has them.
        documents: keys in the index.
        vectors: vectors in the graph; fewer than ``documents`` when some were skipped.
        indexing_failures: hashes that were skipped, for example for a vector of the wrong size.
        backfilling: the server is still reading existing keys.
        backfill_share: how much of them it has read, 0 to 1.
        capacity: places in the graph, those of dead vectors included; it grows in blocks and never shrinks.
        queued: changes that the server has taken and not yet indexed.
    """

    name: str
    shape: Shape
    documents: int
    vectors: int
    indexing_failures: int
    backfilling: bool
    backfill_share: float
    capacity: int = 0
    queued: int = 0


def create_index(name: str, shape: Shape, hnsw: Hnsw) -> Command:
    """Return FT.CREATE for the portable schema: a TAG and a VECTOR on HASH keys, nothing that 1.0 lacks."""
    return (
        *("FT.CREATE", name, "ON", "HASH", "PREFIX", 1, shape.prefix, "SCHEMA", entry.SCOPE, "TAG"),
        *(entry.EMBEDDING, "VECTOR", shape.algorithm, 12, "TYPE", "FLOAT32", "DIM", shape.dimension),
        *("DISTANCE_METRIC", shape.metric, "M", hnsw.m, "EF_CONSTRUCTION", hnsw.ef_construction),
        *("EF_RUNTIME", hnsw.ef_runtime),
    )


def search(name: str, scope: str, vector: bytes, k: int, ef_runtime: int = 0) -> PackedCommand:
    """Return FT.SEARCH for the ``k`` entries of ``scope`` nearest to ``vector``, without their vectors.

    Args:
        name: index name.
        scope: 32 hex digits: TAG values of other characters cannot be escaped safely.
        vector: a unit vector, float32 little endian.
        k: how many; expired ones are dropped by the server after the search and not refilled.
        ef_runtime: candidates while searching; 0 leaves it to the index.
    """
    candidates = f" EF_RUNTIME {ef_runtime}" if ef_runtime else ""
    query = f"(@scope:{{{scope}}})=>[KNN {k} @embedding $v{candidates} AS distance]"
    return _SEARCH.fill(name.encode(), query.encode(), vector, b"%d" % k)


_SEARCH = CommandTemplate(
    *("FT.SEARCH", None, None, "PARAMS", 2, "v", None, "LIMIT", 0, None),
    *("RETURN", len(RETURNED), *RETURNED, "DIALECT", 2),
)


def read_entry(key: str) -> PackedCommand:
    """Return HMGET for what a lookup wants of the entry under ``key``; the reply's order is ``entry.READ_FIELDS``."""
    return _READ_ENTRY.fill(key.encode())


_READ_ENTRY = CommandTemplate("HMGET", None, *entry.READ_FIELDS)


def info(name: str) -> Command:
    """Return FT.INFO: what the node that is asked has."""
    return ("FT.INFO", name)


def cluster_info(name: str) -> Command:
    """Return FT.INFO for the whole of a cluster; only a server with the coordinator knows it."""
    return ("FT.INFO", name, "CLUSTER")


def list_indexes() -> Command:
    """Return FT._LIST."""
    return ("FT._LIST",)


def drop_index(name: str) -> Command:
    """Return FT.DROPINDEX; the keys stay."""
    return ("FT.DROPINDEX", name)


def parse_search(reply: Any) -> list[SearchResult]:
    """Return the rows of an FT.SEARCH reply, nearest first.

    Raises:
        ContractError: the reply has another shape.
    """
    if not isinstance(reply, list) or not reply or len(reply) % 2 == 0:
        raise ContractError(f"FT.SEARCH replied {type(reply).__name__} of another shape")
    found = []
    for at in range(1, len(reply), 2):
        key, flat = reply[at], reply[at + 1]
        if not isinstance(key, bytes) or not isinstance(flat, list) or len(flat) % 2:
            raise ContractError("FT.SEARCH replied a row of another shape")
        try:
            turns = iter(flat)
            row = dict(zip(turns, turns, strict=True))
            distance = float(row.pop(DISTANCE))
            similarity = distance if distance != distance else max(-1.0, min(1.0, 1.0 - distance))
            found.append(SearchResult(key, similarity, row, distance))
        except (KeyError, ValueError, TypeError) as error:
            raise ContractError("FT.SEARCH replied a row without a distance") from error
    if len(found) > 1:
        found.sort(key=lambda row: math.inf if math.isnan(row.distance) else row.distance)
    return found


def parse_info(reply: Any) -> IndexInfo:
    """Return what an FT.INFO reply says; unknown keys are passed over.

    Raises:
        ContractError: a needed key is missing.
    """
    try:
        top = _mapping(reply)
        definition = _mapping(top["index_definition"])
        vector = next(_mapping(one) for one in map(_mapping, top["attributes"]) if _text(one.get("type")) == "VECTOR")
        index = _mapping(vector["index"])
        shape = Shape(
            prefix=_text(definition["prefixes"][0]),
            dimension=int(index["dimensions"]),
            metric=_text(index["distance_metric"]),
            algorithm=_text(_mapping(index["algorithm"])["name"]),
        )
        return IndexInfo(
            name=_text(top["index_name"]),
            shape=shape,
            documents=int(top["num_docs"]),
            vectors=int(index.get("size", top["num_docs"])),
            indexing_failures=int(top["hash_indexing_failures"]),
            backfilling=int(top["backfill_in_progress"]) != 0,
            backfill_share=float(top.get("backfill_complete_percent", 1.0)),
            capacity=int(index.get("capacity", 0)),
            queued=int(top.get("mutation_queue_size", 0)),
        )
    except (KeyError, IndexError, StopIteration, TypeError, ValueError) as error:
        raise ContractError(f"FT.INFO replied another shape: {error!r}") from error


def says_backfilling(reply: Any) -> bool:
    """Return whether an FT.INFO reply says that the server, or any node of a cluster, is still reading existing keys.

    A server that says nothing about it is taken to be ready: this is asked beside searches, which must not fail by it.
    """
    try:
        return int(_mapping(reply).get("backfill_in_progress", 0)) != 0
    except (KeyError, TypeError, ValueError):
        return False


def parse_list(reply: Any) -> list[str]:
    """Return the names of all indexes of an FT._LIST reply."""
    return sorted(_text(name) for name in reply)


def is_missing_index(text: str) -> bool:
    """Return whether an error reply says that the index does not exist."""
    return "not found in database" in text or "no such index" in text.lower() or "Unknown index name" in text


def is_existing_index(text: str) -> bool:
    """Return whether an error reply says that the index exists already."""
    return "already exists" in text


def is_unconfirmed(text: str) -> bool:
    """Return whether a cluster did what it was asked to, but not all of its nodes have said so in time (1.2.1).

    An index was made or dropped then, and the others learn of it later.
    """
    return text.startswith(
        ("Unable to contact all", "Communication error between", "Inconsistent index state", "Index name not found")
    )


def is_unknown_command(text: str) -> bool:
    """Return whether an error reply says that the server has no such command, so no search module."""
    return "unknown command" in text.lower()


def misses_arguments(text: str) -> bool:
    """Return whether an error reply says that a command is there and lacks arguments (the module's own words, too)."""
    return "wrong number of arguments" in text.lower() or text.startswith("Missing argument")


def is_forbidden(kind: str, text: str) -> bool:
    """Return whether an error reply says that the ACL user lacks a command or the keys.

    A missing right on the keys of an index comes as a plain error of the module (1.2.1).
    """
    return kind in {"NoPermissionError", "NOPERM"} or "does not have permission" in text or "no permission" in text


def is_read_only(text: str) -> bool:
    """Return whether a link failed because the server is a replica that takes no writes."""
    return text.startswith("ReadOnlyError")


def is_full(kind: str, text: str) -> bool:
    """Return whether an error reply says that ``maxmemory`` is reached; ``noeviction`` denies FT.SEARCH, too."""
    return kind == "OutOfMemoryError" or text.startswith("OOM")


def mismatches(wanted: Shape, there: Shape) -> list[str]:
    """Return the differences of two shapes as text, each naming both sides."""
    pairs = (
        ("dimension", wanted.dimension, there.dimension),
        ("metric", wanted.metric, there.metric),
        ("algorithm", wanted.algorithm, there.algorithm),
        ("prefix", wanted.prefix, there.prefix),
    )
    return [f"{name}: wanted {ours!r}, the index has {theirs!r}" for name, ours, theirs in pairs if ours != theirs]


def _mapping(reply: Any) -> dict[str, Any]:
    """Read a flat array, or the map that a later server may send, as a mapping with text keys."""
    return {_text(key): value for key, value in mapping(reply).items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
