"""Reindex: moves the entries of another embedder to the one in use, through the queue, and drops the old ones last.

After a change of the embedding model the entries of the old one serve nothing. Their texts are still right: each goes
through the bulk lane as a fill without a vector, with its own time and end, so that a worker embeds it anew and a newer
answer is never overwritten. The old index and its entries go only when every living one stands in the new one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nearhit.admin.invalidate import Invalidated, Paged, Selection, sweep
from nearhit.domain import entry, fill_message
from nearhit.domain.entry import Entry
from nearhit.embedding import registry
from nearhit.errors import EntryError
from nearhit.flow.steps import Flow, Send, ask
from nearhit.index.survey import survey
from nearhit.index.valkey_search import ValkeySearchEngine, generations
from nearhit.valkey import entry_reader, keyspace, search_protocol, server_info
from nearhit.valkey.key_names import CacheKeys
from nearhit.write import fill_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit.embedding.registry import Registered
    from nearhit.flow.runner import Runner
    from nearhit.index.engine import Engine
    from nearhit.valkey.key_names import LogKeys

PAGE_SECONDS = 30.0
"""How long one page may take."""

CHECKPOINT_MS = 7 * 86_400_000
"""How long an interrupted run can be taken up again."""

MAX_QUEUED = 5_000
"""Fills in the bulk lane from which on a run waits for the workers: the log's memory is bounded, too."""

_PAGE = 200
_POLL_SECONDS = 0.5
_CHUNK_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReindexProgress(Paged):
    """Progress of a run.

    Attributes:
        queued: entries put onto the queue, by this run and by those that it takes up.
        unreadable: entries that cannot be read, and are left behind.
        resumed: an interrupted run was taken up.
    """

    queued: int = 0
    unreadable: int = 0
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Compared(Paged):
    """What of the old index is in the new one.

    Attributes:
        living: entries of the old embedder.
        missing: those without an entry in the new one, or with an older answer there.
    """

    living: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class ReindexOutcome:
    """Result of a whole run.

    Attributes:
        progress: what was queued.
        compared: what of the old index is in the new one at the end.
        whole: all of it is, and can be searched.
        dropped: entries of the old embedder that were removed.
    """

    progress: ReindexProgress
    compared: Compared
    whole: bool
    dropped: int


@dataclass(frozen=True, slots=True)
class Reindex:
    """Takes the entries of one old embedder over. Safe to run twice, at once, or after it was interrupted.

    Attributes:
        cache: runs flows against the cache server.
        log: runs flows against the log's server.
        log_keys: names of the log.
        engine: the index of the embedder in use.
        keys: names of the embedder in use.
        old: names of the embedder that was in use before.
    """

    cache: Runner
    log: Runner
    log_keys: LogKeys
    engine: Engine
    keys: CacheKeys
    old: CacheKeys

    def begin(self) -> ReindexProgress:
        """Return where to continue: at the start, or where an interrupted run has ended."""
        return self.cache.run(saved_progress(self.old), PAGE_SECONDS)

    def queue_page(self, done: ReindexProgress) -> ReindexProgress:
        """Put one page of entries onto the queue, write the checkpoint, and return how far it has come."""
        cursor, fills, unreadable = self.cache.run(read_page(self.old, done.cursor), PAGE_SECONDS)
        now_ms = time.time_ns() // 1_000_000
        for chunk in chunks(fills):
            self.log.run(fill_log.accept(self.log_keys, "bulk", chunk, now_ms), PAGE_SECONDS)
        ahead = replace(done, queued=done.queued + len(fills), unreadable=done.unreadable + unreadable, cursor=cursor)
        self.cache.run(save_progress(self.old, ahead), PAGE_SECONDS)
        return ahead

    def waiting(self) -> int:
        """Return how many fills the bulk lane holds; a run waits while they are more than ``MAX_QUEUED``."""
        return self.log.run(fill_log.depth(self.log_keys, "bulk"), PAGE_SECONDS).fills

    def compare(self) -> Compared:
        """Return what of the old index is in the new one; reads all entries of the old one."""
        done = Compared()
        while not done.finished:
            done = self.cache.run(compare_page(self.old, self.keys, done), PAGE_SECONDS)
        return done

    def searchable(self) -> bool:
        """Return whether the new index has all of its entries, as far as the server says."""
        if not isinstance(self.engine, ValkeySearchEngine):
            return True  # replicas follow by themselves
        seen = self.cache.run(survey(self.keys, self.engine.generation), PAGE_SECONDS)
        new = seen.generations.get(seen.current)
        if new is None:
            return not seen.listed
        return not (new.backfilling or new.info.queued) and new.skipped <= new.info.indexing_failures

    def run(
        self,
        *,
        wait_seconds: float,
        keep_old: bool = False,
        say: Callable[[ReindexProgress | Compared], None] | None = None,
    ) -> ReindexOutcome:
        """Queue all entries, wait until workers have stored them, and drop the old ones; blocks.

        Args:
            wait_seconds: how long to wait for the workers once all is queued. What is missing then stays in the old
                index, which is not dropped; a later run continues.
            keep_old: drop nothing.
            say: is told how far it has come.

        Raises:
            StoreUnavailableError: a server does not answer; a later run continues.
        """
        say = say or (lambda _: None)
        done = self.begin()
        while not done.finished:
            if self.waiting() > MAX_QUEUED:
                time.sleep(_POLL_SECONDS)
                continue
            done = self.queue_page(done)
            say(done)
        end = time.monotonic() + wait_seconds
        compared = self.compare()
        while (compared.missing or not self.searchable()) and time.monotonic() < end:
            say(compared)
            time.sleep(_POLL_SECONDS)
            compared = self.compare()
        whole = not compared.missing and self.searchable()
        dropped = self.drop() if whole and not keep_old else 0
        return ReindexOutcome(done, compared, whole, dropped)

    def drop(self) -> int:
        """Drop the old index and its entries; return how many entries went. Readers of the new one notice nothing."""
        self.cache.run(drop_indexes(self.old), PAGE_SECONDS)
        which = Selection(by="embedder", embedder=self.old.embedder)
        done = Invalidated()
        while not done.finished:
            done = self.cache.run(sweep(self.old.namespace, which, done), PAGE_SECONDS)
        self.cache.run(forget(self.old), PAGE_SECONDS)
        return done.removed


def others(namespace: str, current: str) -> Flow[list[Registered]]:
    """Return the embedders of a namespace besides the one in use, oldest first within a model."""
    known = yield from registry.registered(namespace)
    return [one for one in known if one.id != current]


def saved_progress(old: CacheKeys) -> Flow[ReindexProgress]:
    """Return how far an interrupted run has come; a cursor says nothing to another server, or after its restart."""
    run_id = yield from _run_id()
    reply = yield from ask(("GET", old.reindexed))
    if not isinstance(reply, bytes) or reply.decode().split(" ")[0] != run_id:
        return ReindexProgress()
    _, cursor, queued, unreadable = reply.decode().split(" ")
    return ReindexProgress(int(queued), int(unreadable), resumed=True, cursor=cursor)


def save_progress(old: CacheKeys, done: ReindexProgress) -> Flow[None]:
    """Write down how far a run has come; forget it where it has finished."""
    if done.finished:
        yield Send((("DEL", old.reindexed),))
        return
    value = f"{yield from _run_id()} {done.cursor} {done.queued} {done.unreadable}"
    yield Send((("SET", old.reindexed, value, "PX", CHECKPOINT_MS),))


def _run_id() -> Flow[str]:
    return server_info.run_id((yield from server_info.section("server"))) or "-"


def read_page(old: CacheKeys, cursor: str) -> Flow[tuple[str, list[bytes], int]]:
    """Return the next cursor, the fills that write a page of entries anew, and how many entries cannot be read.

    The fills have no vector, and the entries' own times and ends.
    """
    ahead, keys = yield from keyspace.page(keyspace.under(old.prefix), cursor, _PAGE, "reindex")
    found = yield from entry_reader.read(keys, "reindex")
    now_ms, fills = time.time_ns() // 1_000_000, []
    for one in found:
        if isinstance(one, Entry) and one.expires_ms > now_ms:
            created_ms = one.created_us // 1_000
            fill = fill_message.Fill(
                scope=one.scope,
                tenant=one.tenant,
                prompt=one.prompt,
                response=one.response,
                created_us=one.created_us,
                ttl_ms=max(1, one.expires_ms - created_ms),
                fresh_ms=max(1, one.fresh_until_ms - created_ms),
                usage=one.usage,
                refresh=one.refresh,
            )
            fills.append(fill_message.encode(fill))
    return ahead, fills, sum(isinstance(one, EntryError) for one in found)


def compare_page(old: CacheKeys, new: CacheKeys, done: Compared) -> Flow[Compared]:
    """Compare a page of the old embedder's entries with the new one's and return how far it has come."""
    ahead, keys = yield from keyspace.page(keyspace.under(old.prefix), done.cursor, _PAGE, "reindex")
    twins = [new.prefix + key.decode().removeprefix(old.prefix) for key in keys]
    commands = [("HGET", key, entry.CREATED) for pair in zip(keys, twins, strict=True) for key in pair]
    replies: list[Any] = (yield Send(tuple(commands), "reindex")) if commands else []
    living = missing = 0
    for was, now in zip(replies[::2], replies[1::2], strict=True):
        if isinstance(was, bytes):
            living += 1
            missing += not (isinstance(now, bytes) and int(now) >= int(was))
    return Compared(done.living + living, done.missing + missing, cursor=ahead)


def drop_indexes(old: CacheKeys) -> Flow[None]:
    """Drop every generation of an embedder's index."""
    listed = yield from ask(search_protocol.list_indexes())
    for generation in generations(old, listed):
        yield Send((search_protocol.drop_index(old.index(generation)),))


def forget(old: CacheKeys) -> Flow[None]:
    """Take away what a namespace has of an embedder besides entries and index."""
    yield Send((("DEL", old.generation), ("DEL", old.changes), ("DEL", old.reindexed)))
    for known in (yield from registry.registered(old.namespace)):
        if known.id == old.embedder:
            yield from registry.forget(old.namespace, known)


def chunks(blobs: list[bytes]) -> Iterator[list[bytes]]:
    """Split a page by size: its entries may hold a megabyte each."""
    chunk: list[bytes] = []
    for blob in blobs:
        if chunk and sum(map(len, chunk)) + len(blob) > _CHUNK_BYTES:
            yield chunk
            chunk = []
        chunk.append(blob)
    if chunk:
        yield chunk
