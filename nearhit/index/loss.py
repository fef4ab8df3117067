"""Loss: detects a lost index and names the cause."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nearhit.flow.steps import Flow, Send
from nearhit.valkey import key_names, server_info

if TYPE_CHECKING:
    from nearhit.index.space import Space


class LossReason(StrEnum):
    """Why the index had to be created again. A closed set: it is a metric label."""

    FLUSHED = "flushed"
    DROPPED = "dropped"
    NEW_PRIMARY = "new_primary"
    BACKFILLING = "backfilling"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a server looks like at one moment.

    Attributes:
        run_id: changes with every start of a server; empty for a cluster, whose nodes all have their own, and where the
            user may not read INFO.
        registered: the namespace's embedders are written down there.
    """

    run_id: str
    registered: bool


def gather(namespace: str) -> Flow[Evidence]:
    """Return the evidence; call it before anything is created again."""
    server, there = yield Send((("INFO", "server"), ("EXISTS", key_names.embedders(namespace))))
    return Evidence(server_info.run_id(server_info.parse(server)), there == 1)


def explain(run_id_before: str, now: Evidence) -> LossReason:
    """Return why an index is gone that existed while the server had ``run_id_before``."""
    if run_id_before and now.run_id and run_id_before != now.run_id:
        return LossReason.NEW_PRIMARY
    return LossReason.DROPPED if now.registered else LossReason.FLUSHED


@dataclass(frozen=True, slots=True)
class Watched:
    """Result of a check of the index.

    Attributes:
        reason: why it was made again, or ``backfilling`` when a restarted server makes it again itself; ``None`` when
            all is well.
        run_id: the server's, to compare with the next time.
        reopen: the space must be opened again: this look has made the index, or the registry of embedders is gone.
    """

    reason: LossReason | None
    run_id: str
    reopen: bool = False


def watch(space: Space) -> Flow[Watched]:
    """Make a lost index again and say why it was lost.

    Raises:
        IndexMismatchError: an index of another shape has its name.
        ConfigError: the server cannot search, or refuses to make an index.
    """
    now = yield from gather(space.keys.namespace)
    made = yield from space.engine.prepare()
    if made:
        return Watched(explain(space.run_id, now), now.run_id, reopen=True)
    restarted = bool(space.run_id and now.run_id and space.run_id != now.run_id)
    reason = LossReason.BACKFILLING if restarted and space.engine.backfilling else None
    return Watched(reason, now.run_id, reopen=not now.registered)
