"""Engine valkey-search: the index is an HNSW graph in the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nearhit.domain import vectors
from nearhit.errors import (
    ConfigError,
    ContractError,
    IndexLostError,
    IndexMismatchError,
    StoreUnavailableError,
    UnavailableError,
)
from nearhit.flow.steps import Flow, ReplyError, Send, ask
from nearhit.index.quick_search import CANDIDATES, QuickSearch
from nearhit.valkey import search_protocol
from nearhit.valkey.replies import whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.domain.neighbour import Neighbour
    from nearhit.valkey.key_names import CacheKeys

LOOK_SECONDS = 1.0
"""How often a searching process looks which generation is the current one, and whether it is still backfilling. Both
ride on a search's own round trip."""


SHORT_BACKFILL_SECONDS = 1.0
"""How long an opening waits for a backfill; lookups during a longer one are hits, or misses named ``warming``."""

_POLL_SECONDS = 0.02


class ValkeySearchEngine:
    """Searches with FT.SEARCH; one round trip brings the neighbours with their answers.

    Args:
        keys: names of the namespace and embedder.
        dimension: length of the vectors.
        hnsw: settings of the graph, for when it has to be made.
        clustered: the server is a cluster, whose search module must run with its coordinator.
    """

    name = "valkey-search"

    def __init__(
        self, keys: CacheKeys, dimension: int, hnsw: search_protocol.Hnsw | None = None, *, clustered: bool = False
    ) -> None:
        self._keys = keys
        self._hnsw = hnsw or search_protocol.Hnsw()
        self._shape = search_protocol.Shape(keys.prefix, dimension)
        self._clustered = clustered
        self.quick = QuickSearch() if self._hnsw.ef_runtime > CANDIDATES else None
        self._look_at = 0.0
        self.generation = 1
        self.backfilling = False
        self._created = False

    @property
    def index(self) -> str:
        """Name of the index that searches use."""
        return self._keys.index(self.generation)

    def search(self, scope: str, vector: NDArray[np.float32], k: int, candidates: int = 0) -> Flow[Sequence[Neighbour]]:
        """Search as ``Engine.search`` says; a generation that was just dropped is followed to the next one.

        The candidates stand in the query: asked by another node, a shard does not look at its index for them and takes
        ``k`` (1.2.1).
        """
        blob, candidates = vectors.to_bytes(vector), candidates or self._hnsw.ef_runtime
        asked = self.generation  # another thread may move on to the next one while this search is under way
        index = self._keys.index(asked)
        reply = yield from self._ask(index, search_protocol.search(index, scope, blob, k, candidates))
        if isinstance(reply, ReplyError) and search_protocol.is_missing_index(reply.text):
            there = yield from read_generation(self._keys)
            if there == asked:
                raise IndexLostError(f"index {index!r} is not on the server")
            self.generation = there
            index = self._keys.index(there)
            reply = yield from ask(search_protocol.search(index, scope, blob, k, candidates), "search")
        if isinstance(reply, ReplyError):
            raise search_error(index, reply)
        return search_protocol.parse_search(reply)

    def prepare(self) -> Flow[bool]:
        """Create the index, or verify an existing one; any number of processes may do so at once.

        Returns:
            Whether this engine made it, in this call or in one before that failed later on.

        Raises:
            IndexMismatchError: the index has another dimension, metric, algorithm or prefix.
            ConfigError: the server has no search module, or the user may not use it.
        """
        reply = yield from self._find()
        if isinstance(reply, ReplyError):
            self._created = (yield from self.create(self.generation)) or self._created
            reply = yield from self._made()
        there = search_protocol.parse_info(reply)
        differences = search_protocol.mismatches(self._shape, there.shape)
        if differences:
            raise IndexMismatchError(
                f"index {self.index!r} has another shape ({'; '.join(differences)}); "
                "take another namespace, or drop that index with FT.DROPINDEX"
            )
        if self._clustered:
            yield from self._check_coordinator()
        self.backfilling = there.backfilling
        if there.backfilling and (self._created or not there.documents):
            self.backfilling = yield from self._still_backfilling()
        made, self._created = self._created, False
        return made

    def create(self, generation: int) -> Flow[bool]:
        """Make the index of a generation; return False when another process was first.

        Raises:
            ConfigError: the server has no search module, is a replica, or the user may not.
            StoreUnavailableError: the server is full.
        """
        name = self._keys.index(generation)
        reply = yield from ask(search_protocol.create_index(name, self._shape, self._hnsw))
        if not isinstance(reply, ReplyError) or (self._clustered and search_protocol.is_unconfirmed(reply.text)):
            return True
        if search_protocol.is_existing_index(reply.text):
            return False
        raise search_error(name, reply)

    def info(self) -> Flow[search_protocol.IndexInfo]:
        """Return what the server says about the index.

        Raises:
            IndexLostError: there is none.
        """
        reply = yield from ask(search_protocol.info(self.index))
        if isinstance(reply, ReplyError):
            raise search_error(self.index, reply)
        return search_protocol.parse_info(reply)

    def wait_ready(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: the index lives in the server."""
        return True

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Do nothing: the index lives in the server."""

    def _ask(self, index: str, command: tuple[Any, ...]) -> Flow[Any]:
        """Send a search; once in ``LOOK_SECONDS``, and while the server backfills, look at the generation with it."""
        now = time.monotonic()
        if now < self._look_at and not self.backfilling:
            try:
                return (yield Send((command,), "search"))[0]
            except StoreUnavailableError:
                self._look_at = 0.0  # the server may come back with an index that it has yet to read
                raise
        found, pointer, about = yield Send(
            (command, ("GET", self._keys.generation), search_protocol.info(index)), "search"
        )
        self._look_at = now + LOOK_SECONDS
        self.backfilling = not isinstance(about, ReplyError) and search_protocol.says_backfilling(about)
        if whole(pointer) and not isinstance(found, ReplyError):
            self.generation = whole(pointer)  # from the next search on; this one has its answer
        return found

    def _find(self) -> Flow[Any]:
        """Return FT.INFO of the current generation, or the error that says it is missing.

        Between the pointer and the index a whole rotation may pass, if this process is stopped for so long: making the
        index that it dropped again would send this process's searches to an empty one.
        """
        while True:
            self.generation = yield from read_generation(self._keys)
            reply = yield from ask(search_protocol.info(self.index))
            if not isinstance(reply, ReplyError):
                return reply
            if not search_protocol.is_missing_index(reply.text):
                raise search_error(self.index, reply)
            if (yield from read_generation(self._keys)) == self.generation:
                return reply

    def _made(self) -> Flow[Any]:
        """Return FT.INFO of an index that was just made; the nodes of a cluster learn of it one after the other."""
        reply: Any = None
        for turn in range(round(SHORT_BACKFILL_SECONDS / _POLL_SECONDS)):
            reply = (yield Send((search_protocol.info(self.index),), after_seconds=_POLL_SECONDS if turn else 0.0))[0]
            if not isinstance(reply, ReplyError):
                return reply
            if not self._clustered or not search_protocol.is_missing_index(reply.text):
                break
        raise search_error(self.index, reply)

    def _still_backfilling(self) -> Flow[bool]:
        """Return whether the server backfills for longer than a moment: a new index does so even over no keys."""
        for _ in range(round(SHORT_BACKFILL_SECONDS / _POLL_SECONDS)):
            about = (yield Send((search_protocol.info(self.index),), after_seconds=_POLL_SECONDS))[0]
            if isinstance(about, ReplyError) or not search_protocol.says_backfilling(about):
                return False
        return True

    def _check_coordinator(self) -> Flow[None]:
        """Raise where a search would cover one node alone, as it silently does without the coordinator."""
        reply = yield from ask(search_protocol.cluster_info(self.index))
        if isinstance(reply, ReplyError) and search_protocol.is_unconfirmed(reply.text):
            raise StoreUnavailableError(f"index {self.index!r}: {reply.text}")
        if isinstance(reply, ReplyError) and not search_protocol.is_missing_index(reply.text):
            raise ConfigError(
                f"index {self.index!r} covers one node of the cluster: {reply.text}; "
                "load valkey-search into every node with --use-coordinator"
            )


def read_generation(keys: CacheKeys) -> Flow[int]:
    """Return the generation that readers use.

    Without a pointer, which a server may have evicted or lost, it is the lowest one that exists: while two exist the
    lower one is always whole.
    """
    pointer, listed = yield Send((("GET", keys.generation), search_protocol.list_indexes()))
    return whole(pointer, min(generations(keys, listed), default=1))


def generations(keys: CacheKeys, listed: Any) -> list[int]:
    """Return the generations among the names of an FT._LIST reply; empty where the user may not list."""
    if isinstance(listed, ReplyError):
        return []
    stem = keys.index(0)[:-1]
    ends = (name.removeprefix(stem) for name in search_protocol.parse_list(listed) if name.startswith(stem))
    return sorted(int(end) for end in ends if end.isdigit())


def search_error(index: str, reply: ReplyError) -> ConfigError | ContractError | UnavailableError:
    """Return the error of ours that an error reply of FT.* stands for."""
    text = f"index {index!r}: {reply.kind}: {reply.text}"
    if search_protocol.is_missing_index(reply.text):
        return IndexLostError(f"index {index!r} is not on the server")
    if search_protocol.is_unknown_command(reply.text):
        return ConfigError("the server has no search module; take engine 'local' or load valkey-search")
    if search_protocol.is_forbidden(reply.kind, reply.text):
        return ConfigError(f"the user may not search: {reply.text}; grant it +@search and the keys nearhit:*")
    if search_protocol.is_full(reply.kind, reply.text):
        return StoreUnavailableError(f"{text}; maxmemory is reached: raise it, or set an eviction policy")
    if "does not match index's expected size" in reply.text:
        return ContractError(f"index {index!r}: {reply.text}")
    return StoreUnavailableError(text)
