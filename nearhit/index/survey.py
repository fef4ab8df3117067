"""Survey: the indexes of one namespace and embedder on the server at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.flow.steps import Flow, ReplyError, Send
from nearhit.index.valkey_search import generations
from nearhit.valkey import search_protocol, server_info
from nearhit.valkey.replies import whole

if TYPE_CHECKING:
    from nearhit.valkey.key_names import CacheKeys
    from nearhit.valkey.search_protocol import IndexInfo

_FLOAT_BYTES = 4
BLOCK = 10_240
"""By how many places a graph grows at once, unless the server is set otherwise (valkey-search 1.2.1)."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One index.

    Attributes:
        number: of the generation.
        info: what the server says about it.
        backfilling: the server, or any node of a cluster, is still reading existing keys into it.
    """

    number: int
    info: IndexInfo
    backfilling: bool

    def dead(self, reclaimable_bytes: int | None) -> int:
        """Return about how many places of the graph hold vectors of entries that are gone.

        The server gives their bytes for all indexes together. An index cannot have more of them than it has places
        beside the living ones. A server that does not give them leaves what the graph has grown beyond its last block.
        """
        free = max(0, self.info.capacity - self.info.vectors)
        if reclaimable_bytes is None:
            return max(0, free - BLOCK)
        return min(free, reclaimable_bytes // (_FLOAT_BYTES * self.info.shape.dimension))

    @property
    def skipped(self) -> int:
        """How many entries have no vector in the graph although the server has nothing more to index."""
        return 0 if self.backfilling or self.info.queued else max(0, self.info.documents - self.info.vectors)


@dataclass(frozen=True, slots=True)
class Survey:
    """All there is to decide about a rotation.

    Attributes:
        current: number of the generation that readers use.
        generations: those that exist, by number.
        reclaimable_bytes: what dead vectors of all indexes hold; ``None`` where the server does not say.
        add_failures: vectors that graphs of the server refused, ever.
        headroom_bytes: memory up to ``maxmemory``; ``None`` without a limit.
        grace: readers may still be on their way from the generation before.
        pause: the last rotation was a short time ago.
        listed: the user may list indexes; without that no rotation is safe, and there is none.
    """

    current: int
    generations: dict[int, Generation]
    reclaimable_bytes: int | None = None
    add_failures: int = 0
    headroom_bytes: int | None = None
    grace: bool = False
    pause: bool = False
    listed: bool = True


def survey(keys: CacheKeys, current: int) -> Flow[Survey]:
    """Return what is on the server.

    Args:
        keys: names of the namespace and embedder.
        current: what readers use where there is no pointer to say so.
    """
    replies = yield Send(
        (
            search_protocol.list_indexes(),
            ("GET", keys.generation),
            ("EXISTS", keys.rotation("grace")),
            ("EXISTS", keys.rotation("pause")),
            ("INFO", "search"),
            ("INFO", "memory"),
            ("INFO", "cluster"),
        ),
    )
    listed, pointer, grace, pause, search, memory, cluster = replies
    if isinstance(listed, ReplyError):
        return Survey(current, {}, listed=False)
    numbers = generations(keys, listed)
    clustered = server_info.parse(cluster).get("cluster_enabled") == "1"
    found = yield from _read(keys, numbers, clustered=clustered)
    about, limits = server_info.parse(search), server_info.parse(memory)
    most = int(limits.get("maxmemory", 0))
    return Survey(
        current=whole(pointer, min(numbers, default=current)),
        generations=found,
        reclaimable_bytes=_whole(about, "search_index_reclaimable_memory"),
        add_failures=_whole(about, "search_hnsw_add_exceptions_count") or 0,
        headroom_bytes=most - int(limits.get("used_memory", 0)) if most else None,
        grace=grace == 1,
        # one vanished meanwhile: the rest of what was seen is older than that, so nothing is decided by it
        pause=pause == 1 or len(found) < len(numbers),
    )


def _read(keys: CacheKeys, numbers: list[int], *, clustered: bool) -> Flow[dict[int, Generation]]:
    """Return the generations; one that was dropped between the list and this look is left out."""
    if not numbers:
        return {}
    names = [keys.index(number) for number in numbers]
    commands = [search_protocol.info(name) for name in names]
    if clustered:
        commands += [search_protocol.cluster_info(name) for name in names]
    replies: list[Any] = yield Send(tuple(commands))
    found = {}
    for at, number in enumerate(numbers):
        if isinstance(replies[at], ReplyError):
            continue
        info = search_protocol.parse_info(replies[at])
        backfilling = info.backfilling
        if clustered:
            whole = replies[len(numbers) + at]
            backfilling = isinstance(whole, ReplyError) or search_protocol.says_backfilling(whole)
        found[number] = Generation(number, info, backfilling)
    return found


def _whole(lines: dict[str, str], name: str) -> int | None:
    value = lines.get(name, "")
    return int(value) if value.isdigit() else None
