"""Lookup: the read path as one flow, from the question to a hit or a miss."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from nearhit.domain import entry, hit_policy, vectors
from nearhit.domain.outcome import Hit, Miss, MissReason, Tier
from nearhit.errors import (
    BusyError,
    ConfigError,
    ContractError,
    EmbedderUnavailableError,
    EntryError,
    IndexLostError,
    NearhitError,
    StoreUnavailableError,
    UnavailableError,
)
from nearhit.flow.steps import Embed, Flow, ReplyError, Send
from nearhit.valkey import search_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.domain.entry import Entry
    from nearhit.domain.hit_policy import Rules
    from nearhit.domain.neighbour import Neighbour
    from nearhit.domain.question import Query
    from nearhit.index.space import Space
    from nearhit.judge.second_stage import SecondStage

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Case:
    """A question with all that its outcome tells of besides what was found."""

    query: Query
    space: Space
    rules: Rules
    stages: dict[str, float]


def lookup(
    query: Query, space: Space, rules: Rules, stages: dict[str, float], judging: SecondStage | None = None
) -> Flow[Hit | Miss]:
    """Look a question up: by its key, then by its neighbours; the other way round where its vector is known already.

    A text whose vector this process knows was no exact hit when it was embedded. So it is searched for at once, which
    saves a round trip, and finds the entry of that very text, too, if there is one by now. Only where that leaves room
    for doubt is the entry looked for by its key as well.

    The nearest entry alone is asked for, which decides nearly every lookup and takes the server a third less time than
    four with their answers. Only where it may not be served, as the guard says or because it ended, are ``rules.k``
    asked for.

    Args:
        query: what is asked, and by whom.
        space: where to search.
        rules: what a hit must satisfy.
        stages: where the seconds by stage are collected; the outcome carries this very mapping.
        judging: the second stage; ``None`` serves what the rules allow.

    Returns:
        A hit, or a miss with its reason and, as far as it was made, the question's vector. Failures of the server or of
        the embedder are misses, too; only errors of this program itself come out.
    """
    case = _Case(query, space, rules, stages)
    asked = hit_policy.Asked(query.text, query.scope, space.keys.embedder)
    key = space.keys.entry(query.scope, entry.prompt_digest(query.text))
    vector = space.vectors.get(query.text)
    known = vector is not None
    try:
        if vector is None:
            exact = yield from _exact(key, asked)
            if exact is not None:
                return _hit(case, hit_policy.Chosen(key.encode(), exact, 1.0), Tier.EXACT)
            vector = yield from embed_once(query.text, space)
        nearest = yield from space.engine.search(query.scope, vector, 1)
        others: Iterator[Neighbour] | None = None
        choice = yield from _choose(nearest, asked, rules, stages)
        if rules.k > 1 and hit_policy.looks_further(choice):
            others = _without((yield from space.engine.search(query.scope, vector, rules.k)), nearest)
            choice = hit_policy.nearer(choice, (yield from _choose(others, asked, rules, stages)))
        if known and (space.engine.backfilling or not hit_policy.settles(choice)):
            exact = yield from _exact(key, asked)
            if exact is not None:
                space.vectors.drop(query.text)  # it is found by its key alone from now on
                return _hit(case, hit_policy.Chosen(key.encode(), exact, 1.0), Tier.EXACT)
        if judging is not None and isinstance(choice, hit_policy.Chosen):
            following = _following(case, asked, vector, nearest, others)
            choice = yield from judging.confirm(choice, asked, following)
        if isinstance(choice, hit_policy.Chosen):
            full = yield from _with_large_response(choice)
            if full is not None:
                return _hit(case, full, Tier.SEMANTIC)
            choice = hit_policy.Refused(MissReason.EXPIRED)
        return _not_found(case, vector, choice)
    except NearhitError as error:
        return _missed(case, vector, hit_policy.Refused(_reason(error)), str(error))


def embed_once(text: str, space: Space) -> Flow[NDArray[np.float32]]:
    """Return the ``(dim,)`` unit vector of a text, from this process's memory where it was embedded already.

    Raises:
        ContractError: the embedder gave another dimension than the namespace has.
        EmbedderUnavailableError: it does not answer.
    """
    known = space.vectors.get(text)
    if known is not None:
        return known
    made: NDArray[np.float32] = (yield Embed((text,))).vectors
    if made.shape != (1, space.dimension):
        raise ContractError(f"the embedder gave a vector of shape {made.shape}, the namespace has {space.dimension}")
    space.vectors.put(text, made[0])
    vector: NDArray[np.float32] = made[0]
    return vector


def _choose(
    neighbours: Iterable[Neighbour], asked: hit_policy.Asked, rules: Rules, stages: dict[str, float]
) -> Flow[hit_policy.Chosen | hit_policy.Refused]:
    """Choose among neighbours; of those that differ in a few sentences of long texts, these are embedded."""
    left = iter(neighbours)
    first: hit_policy.Refused | None = None
    while True:
        choice = _timed(partial(hit_policy.choose, left, asked, rules, int(time.time() * 1000)), rules, stages)
        if isinstance(choice, hit_policy.Undecided):
            first = first or choice.before
            one, other = (yield Embed(choice.excerpts)).vectors
            choice = _timed(partial(hit_policy.settle, choice, min(1.0, float(one @ other)), rules), rules, stages)
            if isinstance(choice, hit_policy.Refused):
                first = first or choice
                continue
        return choice if isinstance(choice, hit_policy.Chosen) or first is None else first


def _timed(decide: Callable[[], T], rules: Rules, stages: dict[str, float]) -> T:
    started = time.monotonic()
    choice = decide()
    if rules.guard is not None:
        stages["guard"] = stages.get("guard", 0.0) + time.monotonic() - started
    return choice


def _without(neighbours: Sequence[Neighbour], seen: Sequence[Neighbour]) -> Iterator[Neighbour]:
    keys = {one.key for one in seen}
    return (one for one in neighbours if one.key not in keys)


def _following(
    case: _Case,
    asked: hit_policy.Asked,
    vector: NDArray[np.float32],
    seen: Sequence[Neighbour],
    others: Iterator[Neighbour] | None,
) -> Callable[[], Flow[hit_policy.Chosen | hit_policy.Refused]]:
    """Return what chooses the next neighbour, each time that it is called; ``others`` are those that are known yet."""

    def choose() -> Flow[hit_policy.Chosen | hit_policy.Refused]:
        nonlocal others
        if others is None:
            found = yield from case.space.engine.search(case.query.scope, vector, case.rules.k)
            others = _without(found, seen)
        return (yield from _choose(others, asked, case.rules, case.stages))

    return choose


def _exact(key: str, asked: hit_policy.Asked) -> Flow[Entry | None]:
    values = (yield Send((search_protocol.read_entry(key),), "exact"))[0]
    if isinstance(values, ReplyError):
        text = f"HMGET: {values.kind}: {values.text}"
        raise (
            ConfigError(text) if search_protocol.is_forbidden(values.kind, values.text) else StoreUnavailableError(text)
        )
    if values[0] is None:
        return None
    fields = {name: value for name, value in zip(entry.READ_FIELDS, values, strict=True) if value is not None}
    found = hit_policy.judge_exact(fields, asked, int(time.time() * 1000))
    if found is None:
        return None
    full = yield from _with_large_response(hit_policy.Chosen(key.encode(), found, 1.0))
    return full.entry if full is not None else None


def _with_large_response(chosen: hit_policy.Chosen) -> Flow[hit_policy.Chosen | None]:
    """Fetch an answer that is too large for a search record; ``None`` when the entry ended meanwhile."""
    if chosen.entry.response:
        return chosen
    reply = (yield Send((("HGET", chosen.key, entry.LARGE_RESPONSE),), "exact"))[0]
    if not isinstance(reply, bytes) or not reply:
        return None
    return hit_policy.with_response(chosen, reply)


def _hit(case: _Case, chosen: hit_policy.Chosen, tier: Tier) -> Hit | Miss:
    query, found = case.query, chosen.entry
    now = time.time()
    try:
        answer: Any = entry.decode_response(found.response)
    except EntryError as error:
        return Miss(
            reason=MissReason.UNREADABLE,
            prompt=query.text,
            scope=query.scope,
            tenant=query.tenant,
            detail=str(error),
            threshold=case.rules.threshold,
            stages=case.stages,
        )
    return Hit(
        answer=answer,
        tier=tier,
        similarity=chosen.similarity,
        prompt=query.text,
        cached_prompt=found.prompt,
        key=chosen.key.decode(),
        age_seconds=max(0.0, now - found.created_us / 1e6),
        fresh=now * 1000 < found.fresh_until_ms,
        refreshable=bool(found.refresh),
        usage=found.usage,
        threshold=case.rules.threshold,
        stages=case.stages,
    )


def _not_found(case: _Case, vector: NDArray[np.float32], refused: hit_policy.Refused) -> Miss:
    if case.space.engine.backfilling and refused.reason in {MissReason.EMPTY, MissReason.BELOW_THRESHOLD}:
        warming = hit_policy.Refused(MissReason.WARMING, refused.nearest)
        return _missed(case, vector, warming, "the server is still reading entries into the index")
    return _missed(case, vector, refused)


def _missed(case: _Case, vector: NDArray[np.float32] | None, refused: hit_policy.Refused, detail: str = "") -> Miss:
    query = case.query
    return Miss(
        reason=refused.reason,
        prompt=query.text,
        nearest=refused.nearest,
        scope=query.scope,
        tenant=query.tenant,
        vector=vectors.to_bytes(vector) if vector is not None else b"",
        embedder=case.space.keys.embedder if vector is not None else "",
        detail=detail,
        threshold=case.rules.threshold,
        stages=case.stages,
    )


def _reason(error: NearhitError) -> MissReason:
    if isinstance(error, ConfigError):
        return MissReason.MISCONFIGURED
    if isinstance(error, IndexLostError):
        return MissReason.INDEX_LOST
    if isinstance(error, EmbedderUnavailableError):
        return MissReason.EMBEDDER_UNAVAILABLE
    if isinstance(error, StoreUnavailableError):
        return MissReason.BUSY if isinstance(error, BusyError) else MissReason.UNAVAILABLE
    if isinstance(error, UnavailableError):
        return MissReason.WARMING
    return MissReason.EMBEDDER_REFUSED
