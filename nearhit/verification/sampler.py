"""Sampler: the reader's side of a verification. Draws semantic hits by chance and puts them into the verify log."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain import entry
from nearhit.domain.fill_message import FIELD
from nearhit.domain.outcome import Hit, Miss, Tier
from nearhit.domain.scope import Scope
from nearhit.errors import ContractError, NearhitError, StoreUnavailableError
from nearhit.flow.steps import accepted
from nearhit.resilience.background import EachItem
from nearhit.valkey import server_scripts
from nearhit.verification.request import LANE, VerificationRequest, encode, recipe_of
from nearhit.write import fill_log

if TYPE_CHECKING:
    from nearhit.domain.question import Question
    from nearhit.flow.ports import Link
    from nearhit.read.live_thresholds import LiveRules
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys
    from nearhit.write.wakeup import WakeUp

MAX_LOGGED = 1_000
"""Requests in the log: where nobody verifies, more are dropped and counted instead of filling the server."""

_MOST_WAITING = 64
_SECONDS = 2.0


Drawn = tuple[Hit, Any, Any]


@dataclass(frozen=True, slots=True)
class Drawing:
    """How hits are drawn.

    Attributes:
        share: of semantic hits that are drawn; 0 draws none and costs nothing.
        model: asked again instead of the one that the scope names.
        read: gives the query of a prompt in a scope, as lookups do.
    """

    share: float
    model: str
    read: Callable[[Any, Any], Question | Miss]


class Sampler(EachItem[Drawn]):
    """Asks workers to verify hits, from a thread of its own: a hit that is drawn costs its reader microseconds.

    Thread-safe and fork-safe. What cannot be sent is dropped and counted; a sample more or less says the same.

    Args:
        keys: names of the log.
        link: a blocking way to the log's server.
        wakeup: how a worker is told.
        live: the rules by which hits are judged.
        metrics: where it is counted what becomes of them.
        drawing: how they are drawn.
    """

    def __init__(
        self, keys: LogKeys, link: Link, wakeup: WakeUp, live: LiveRules, metrics: Metrics, drawing: Drawing
    ) -> None:
        self._keys = keys
        self._link = link
        self._wakeup = wakeup
        self._live = live
        self._metrics = metrics
        self._drawing = drawing
        super().__init__("nearhit-verify", _MOST_WAITING)

    def consider(self, outcome: Hit | Miss, prompt: Any, scope: Scope | Mapping[str, Any] | None) -> None:
        """Draw a semantic hit by chance; returns at once and never raises.

        Args:
            outcome: of a lookup.
            prompt: that was looked up.
            scope: in which.
        """
        if not self._drawing.share or not isinstance(outcome, Hit) or outcome.tier is not Tier.SEMANTIC:
            return
        if random.random() >= self._drawing.share:  # noqa: S311 - draws a sample, guards nothing
            return
        # the caller may change its list of messages while the thread reads it
        drawn = (
            outcome,
            list(prompt) if isinstance(prompt, list) else prompt,
            dict(scope) if isinstance(scope, Mapping) else scope,
        )
        if not self._thread.put(drawn):
            self._count("dropped")

    def handle(self, item: Drawn) -> None:
        """Send the request for the verification of a hit that was drawn."""
        try:
            log, blob = self._keys.log(LANE), encode(self.request_of(*item))
            fields = (FIELD, blob, fill_log.TRIES, 0, fill_log.QUEUED, time.time_ns() // 1_000_000)
            command = server_scripts.append_below(log, MAX_LOGGED, self._keys.wake(LANE), fill_log.WAKE_MS, fields)
            added = int(accepted(self._link.send((command,), _SECONDS)[0], log))
        except ContractError:
            self._count("unaskable")
        except NearhitError as error:
            self._metrics.count_error("verify", error)
            self._count("dropped")
        else:
            self._count("sent" if added else "dropped")
            if added == 2:  # this request has set the flag
                self._wakeup.notify(LANE)

    def request_of(self, hit: Hit, prompt: Any, scope: Any) -> VerificationRequest:
        """Return the request that a hit be verified.

        Raises:
            ContractError: it cannot be asked again.
            StoreUnavailableError: the threshold is another one by now.
        """
        whole = Scope.of(scope)
        question = self._drawing.read(prompt, whole)
        if isinstance(question, Miss):
            raise ContractError(f"the question cannot be read again: {question.reason.value}")
        rules = self._live.of(question)
        if rules.threshold != hit.threshold:
            raise StoreUnavailableError("the threshold was changed between a hit and its verification")
        return VerificationRequest(
            recipe=recipe_of(prompt, whole, self._drawing.model),
            question=hit.prompt,
            cached_question=hit.cached_prompt,
            cached_answer=entry.encode_response(hit.answer),
            similarity=float(hit.similarity),
            threshold=rules.threshold,
            origin=rules.origin,
            since_ms=rules.since_ms,
            scope=question.scope,
            tenant=question.tenant,
        )

    def _count(self, outcome: str) -> None:
        self._metrics.verify_requests[outcome].inc()
