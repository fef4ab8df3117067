"""Lookup: the read path as one flow, from the question to a hit or a miss."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from nearhit.domain import entry, hit_policy, vectors
from nearhit.domain.hit_policy import Refused
from nearhit.domain.neighbour import Chosen
from nearhit.domain.outcome import Hit, Miss, MissReason, Tier
from nearhit.errors import (
    BusyError,
    ConfigError,
    ContractError,
    EmbedderBusyError,
    EmbedderUnavailableError,
    EntryError,
    IndexLostError,
    NearhitError,
    StoreUnavailableError,
    UnavailableError,
)
from nearhit.flow.steps import Embed, Flow, ReplyError, Send
from nearhit.index.quick_search import CANDIDATES
from nearhit.valkey import search_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.domain.hit_policy import Rules
    from nearhit.domain.neighbour import Neighbour
    from nearhit.domain.question import Question
    from nearhit.index.space import Space
    from nearhit.judge.second_stage import SecondStage

T = TypeVar("T")


def lookup(
    question: Question, space: Space, rules: Rules, stages: dict[str, float], judging: SecondStage | None = None
) -> Flow[Hit | Miss]:
    """Look a question up by its key, then by its neighbours; if its vector is known already, by its neighbours first.

    A text whose vector this process knows was no exact hit when it was embedded. The lookup searches for it at once,
    which saves a round trip and also finds an entry of the same text. It reads the entry by its key only if the search
    leaves doubt.

    The first search asks for the nearest entry alone: it decides nearly every lookup and costs the server a third less
    time than four entries with their answers. If that entry may not be served, a second search asks for ``rules.k``.
    Where most lookups are hits the first search is a quick one, behind which a thorough one comes if it finds no hit.

    Args:
        question: what is asked, and by whom.
        space: where to search.
        rules: what a hit must satisfy.
        stages: where the seconds by stage are collected; the outcome carries this very mapping.
        judging: the second stage; ``None`` serves what the rules allow.

    Returns:
        A hit, or a miss with its reason and, if it was computed, the question's vector. Failures of the server and of
        the embedder are misses; only bugs raise.
    """
    return _Lookup(question, space, rules, stages).run(judging)


def embed_once(text: str, space: Space) -> Flow[NDArray[np.float32]]:
    """Return the ``(dim,)`` unit vector of a text; embeds it unless this process has its vector already.

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


@dataclass(slots=True)
class _Lookup:
    """One lookup: its question, where it searches and by which rules, and the question's vector once it is known."""

    question: Question
    space: Space
    rules: Rules
    stages: dict[str, float]
    vector: NDArray[np.float32] | None = None
    nearest: Sequence[Neighbour] = ()
    others: Iterator[Neighbour] | None = None

    def run(self, judging: SecondStage | None) -> Flow[Hit | Miss]:
        """Return the outcome; see ``lookup``."""
        text = self.question.text
        key = self.space.keys.entry(self.question.scope, entry.prompt_digest(text))
        vector = self.vector = self.space.vectors.get(text)
        known = vector is not None
        try:
            if vector is None:
                exact = yield from self._exact(key)
                if exact is not None:
                    return self._hit(exact, Tier.EXACT)
                vector = self.vector = yield from embed_once(text, self.space)
            choice = yield from self._choose_nearest(vector)
            if known and (self.space.engine.backfilling or not hit_policy.settles(choice)):
                exact = yield from self._exact(key)
                if exact is not None:
                    self.space.vectors.pop(text)  # it is found by its key alone from now on
                    return self._hit(exact, Tier.EXACT)
            if judging is not None and isinstance(choice, Chosen):
                choice = yield from judging.confirm(choice, self.question, partial(self._choose_further, vector))
            if isinstance(choice, Chosen):
                full = yield from _with_large_response(choice)
                if full is not None:
                    return self._hit(full, Tier.SEMANTIC)
                choice = Refused(MissReason.EXPIRED)
            return self._miss(choice)
        except NearhitError as error:
            return self._miss(Refused(_reason(error)), str(error))

    def _choose_nearest(self, vector: NDArray[np.float32]) -> Flow[Chosen | Refused]:
        """Choose the nearest neighbour, or one of the next ones where that may not be served."""
        engine, scope = self.space.engine, self.question.scope
        hurried = engine.quick is not None and engine.quick.worth
        self.nearest = yield from engine.search(scope, vector, 1, CANDIDATES if hurried else 0)
        choice = yield from self._choose(self.nearest)
        if engine.quick is not None:
            engine.quick.count(served=isinstance(choice, Chosen))
        if hurried and isinstance(choice, Refused):
            if self.rules.k > 1 and hit_policy.looks_further(choice):
                self.nearest = ()  # all are chosen from anew: the nearest one may have been missed
                return (yield from self._choose_further(vector))
            self.nearest = yield from engine.search(scope, vector, 1)
            choice = yield from self._choose(self.nearest)
        if self.rules.k > 1 and hit_policy.looks_further(choice):
            choice = hit_policy.nearer(choice, (yield from self._choose_further(vector)))
        return choice

    def _choose_further(self, vector: NDArray[np.float32]) -> Flow[Chosen | Refused]:
        """Choose among the neighbours after the nearest one that were not examined yet."""
        if self.others is None:
            found = yield from self.space.engine.search(self.question.scope, vector, self.rules.k)
            seen = {one.key for one in self.nearest}
            self.others = (one for one in found if one.key not in seen)
        return (yield from self._choose(self.others))

    def _exact(self, key: str) -> Flow[Chosen | None]:
        """Return the entry of the question itself with its answer, if there is one that may be served."""
        values = (yield Send((search_protocol.read_entry(key),), "exact"))[0]
        if isinstance(values, ReplyError):
            text = f"HMGET: {values.kind}: {values.text}"
            forbidden = search_protocol.is_forbidden(values.kind, values.text)
            raise ConfigError(text) if forbidden else StoreUnavailableError(text)
        if values[0] is None:
            return None
        found = hit_policy.judge_exact(entry.named(values), self.question, int(time.time() * 1000))
        return None if found is None else (yield from _with_large_response(Chosen(key.encode(), found, 1.0)))

    def _choose(self, neighbours: Iterable[Neighbour]) -> Flow[Chosen | Refused]:
        """Choose among neighbours; embeds the sentences in which long texts differ, where these decide."""
        left = iter(neighbours)
        first: Refused | None = None
        embedder = self.space.keys.embedder
        while True:
            now_ms = int(time.time() * 1000)
            choice = self._timed(partial(hit_policy.choose, left, self.question, embedder, self.rules, now_ms))
            if isinstance(choice, hit_policy.Undecided):
                first = first or choice.before
                one, other = (yield Embed(choice.excerpts)).vectors
                similarity = min(1.0, float(one @ other))
                choice = self._timed(partial(hit_policy.settle, choice, similarity, self.rules))
                if isinstance(choice, Refused):
                    first = first or choice
                    continue
            return choice if isinstance(choice, Chosen) or first is None else first

    def _timed(self, decide: Callable[[], T]) -> T:
        started = time.monotonic()
        choice = decide()
        if self.rules.guard is not None:
            self.stages["guard"] = self.stages.get("guard", 0.0) + time.monotonic() - started
        return choice

    def _hit(self, chosen: Chosen, tier: Tier) -> Hit | Miss:
        threshold = self.rules.threshold
        try:
            return self.question.hit(tier, chosen, time.time(), threshold, self.stages)
        except EntryError as error:
            reason = MissReason.UNREADABLE
            return self.question.miss(reason, detail=str(error), threshold=threshold, stages=self.stages)

    def _miss(self, refused: Refused, detail: str = "") -> Miss:
        if self.space.engine.backfilling and refused.reason in {MissReason.EMPTY, MissReason.BELOW_THRESHOLD}:
            refused = Refused(MissReason.WARMING, refused.nearest)
            detail = "the server is still reading entries into the index"
        return self.question.miss(
            refused.reason,
            nearest=refused.nearest,
            vector=vectors.to_bytes(self.vector) if self.vector is not None else b"",
            embedder=self.space.keys.embedder if self.vector is not None else "",
            detail=detail,
            threshold=self.rules.threshold,
            stages=self.stages,
        )


def _with_large_response(chosen: Chosen) -> Flow[Chosen | None]:
    """Fetch an answer that is too large for a search record; ``None`` when the entry ended meanwhile."""
    if chosen.entry.response:
        return chosen
    reply = (yield Send((("HGET", chosen.key, entry.LARGE_RESPONSE),), "exact"))[0]
    if not isinstance(reply, bytes) or not reply:
        return None
    return hit_policy.with_response(chosen, reply)


def _reason(error: NearhitError) -> MissReason:
    if isinstance(error, ConfigError):
        return MissReason.MISCONFIGURED
    if isinstance(error, IndexLostError):
        return MissReason.INDEX_LOST
    if isinstance(error, BusyError | EmbedderBusyError):
        return MissReason.BUSY
    if isinstance(error, EmbedderUnavailableError):
        return MissReason.EMBEDDER_UNAVAILABLE
    if isinstance(error, StoreUnavailableError):
        return MissReason.UNAVAILABLE
    if isinstance(error, UnavailableError):
        return MissReason.WARMING
    return MissReason.EMBEDDER_REFUSED
