"""Rotation: replaces a worn index by a new generation beside it, without a miss in between.

Every deleted, expired or evicted entry leaves its vector in the graph of valkey-search forever, and slows down
searches: only dropping the index frees it. A graph whose every near vector is dead even refuses new ones, without a
word to the writer (1.2.1). So a worn index is rotated:

build ─▶ both take every write ─▶ whole? ─▶ pointer to the new one ─▶ readers follow ─▶ drop the old one

Nothing is remembered between two looks: each decides by what is on the server, so that any worker takes over where
another one was killed, and doing a step twice does nothing.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nearhit.errors import StoreUnavailableError
from nearhit.flow.steps import Flow, ReplyError, Send, ask
from nearhit.index.valkey_search import search_error
from nearhit.valkey import search_protocol, server_scripts

if TYPE_CHECKING:
    from nearhit.index.survey import Generation, Survey
    from nearhit.index.valkey_search import ValkeySearchEngine
    from nearhit.valkey.key_names import CacheKeys

LOCK_MS = 10_000
"""How long one step may take before another worker may take one."""


@dataclass(frozen=True, slots=True)
class Wear:
    """When an index is worn, and how gently it is replaced.

    Attributes:
        dead_share: dead vectors among all from which on it is.
        least_dead: below so many dead vectors it never is.
        grace_seconds: how long the old index stays when readers were told of the new one; they look once a second.
        pause_seconds: shortest time from one rotation to the next.
        link_bytes: memory of an entry in a graph besides its vector, for the question whether there is room.
    """

    dead_share: float = 0.5
    least_dead: int = 1_000
    grace_seconds: float = 4.0
    pause_seconds: float = 60.0
    link_bytes: int = 1_024

    def reached(self, current: Generation, seen: Survey) -> bool:
        """Return whether the current generation is worn."""
        dead = current.dead(seen.reclaimable_bytes)
        if dead >= self.least_dead and dead >= self.dead_share * (dead + current.info.vectors):
            return True
        # a graph that refuses vectors is not counted in hash_indexing_failures, only in the number of its vectors
        return bool(dead and seen.add_failures and current.skipped > current.info.indexing_failures)


class Step(StrEnum):
    """The next step of a rotation. A closed set: it is a metric label."""

    NONE = "none"
    BUILD = "build"
    WAIT = "wait"
    FLIP = "flip"
    DROP = "drop"
    NO_ROOM = "no_room"


def decide(seen: Survey, wear: Wear) -> tuple[Step, int]:
    """Return the next step and the generation that it is about."""
    current = seen.generations.get(seen.current)
    if current is None:
        return Step.NONE, seen.current  # lost: making it again is another module's work
    older = [number for number in seen.generations if number < seen.current]
    newer = [number for number in seen.generations if number > seen.current]
    if older:
        return (Step.WAIT if seen.grace else Step.DROP), older[0]
    if len(newer) > 1:
        return Step.DROP, newer[-1]
    if newer:
        new = seen.generations[newer[0]]
        slack = 64 + current.info.documents // 1_000  # writes that are on their way right now
        whole = not new.backfilling and new.info.documents + slack >= current.info.documents
        return (Step.FLIP if whole else Step.WAIT), newer[0]
    if seen.pause or current.backfilling or not wear.reached(current, seen):
        return Step.NONE, seen.current
    room = seen.headroom_bytes
    if room is not None and room < current.info.vectors * (4 * current.info.shape.dimension + wear.link_bytes):
        return Step.NO_ROOM, seen.current
    return Step.BUILD, seen.current + 1


def take(step: Step, about: int, current: int, engine: ValkeySearchEngine, keys: CacheKeys, wear: Wear) -> Flow[bool]:
    """Take a step; return whether this call did it, and not another worker.

    Args:
        step: as ``decide`` gave it.
        about: the generation that it is about.
        current: the generation that readers used when it was decided; a pointer that has moved on is left alone.
        engine: of this process; it follows a flip at once.
        keys: names of the namespace and embedder.
        wear: how gently to do it.

    Raises:
        ConfigError: the user may not.
        StoreUnavailableError: the server does not answer, or is full.
    """
    if step in {Step.NONE, Step.WAIT, Step.NO_ROOM}:
        return False
    token = secrets.token_hex(8)
    locked = yield from ask(("SET", keys.rotation("lock"), token, "NX", "PX", LOCK_MS))
    if locked is None:
        return False
    if isinstance(locked, ReplyError):
        raise search_error(keys.index(about), locked)
    try:
        if step is Step.BUILD:
            return (yield from engine.create(about))
        if step is Step.FLIP:
            flipped = yield from _flip(about, current, keys, wear)
            engine.generation = about if flipped else engine.generation
            return flipped
        return (yield from _drop(about, keys, wear))
    finally:
        with suppress(StoreUnavailableError):  # the lock ends by itself
            yield from ask(server_scripts.release(keys.rotation("lock"), token))


def _flip(about: int, current: int, keys: CacheKeys, wear: Wear) -> Flow[bool]:
    """Move readers over. The grace is written first: a worker killed in between leaves only a needless wait."""
    grace_ms = round(wear.grace_seconds * 1000)
    command = server_scripts.move_pointer(keys.generation, current, about)
    replies = yield Send((("SET", keys.rotation("grace"), 1, "PX", max(1, grace_ms)),))
    replies += yield Send((command,))
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise search_error(keys.index(about), reply)
    return bool(replies[-1] == 1)


def _drop(about: int, keys: CacheKeys, wear: Wear) -> Flow[bool]:
    pause_ms = max(1, round(wear.pause_seconds * 1000))
    paused, dropped = yield Send(
        (("SET", keys.rotation("pause"), 1, "PX", pause_ms), search_protocol.drop_index(keys.index(about)))
    )
    if isinstance(paused, ReplyError):
        raise search_error(keys.index(about), paused)
    if isinstance(dropped, ReplyError) and not search_protocol.is_unconfirmed(dropped.text):
        if search_protocol.is_missing_index(dropped.text):
            return False
        raise search_error(keys.index(about), dropped)
    return True
