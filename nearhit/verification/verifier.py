"""Verifier: the worker's side of a verification. Asks the model again, lets a judge compare, and counts."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain import entry
from nearhit.errors import ConfigError, ContractError, MessageError, NewerMessageError, UnavailableError
from nearhit.verification.agreement import Answers, text_of
from nearhit.verification.request import decode
from nearhit.verification.samples import FALSE_HIT, MAX_SAMPLES, TRUE_HIT, UNJUDGED, Sample, fields_of
from nearhit.write import fill_log
from nearhit.write.refresher import ask_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.runner import Runner
    from nearhit.index.space import Space
    from nearhit.telemetry.metrics import Metrics
    from nearhit.valkey.key_names import LogKeys
    from nearhit.verification.judges import AnswerJudge
    from nearhit.verification.request import VerificationRequest
    from nearhit.write.acknowledger import Acknowledger, Limits
    from nearhit.write.fill_log import Logged
    from nearhit.write.refresher import Answer

log = logging.getLogger("nearhit")

MAX_BATCH = 4
"""Models asked at once by one batch."""

MAX_TRIES = 4
"""Tries of a verification, with growing waits, before it is counted as unjudged: a sample is not worth more."""

ASK_SECONDS = 25.0
"""Longest time of a call: with the judge's, a batch in progress is still far from looking like a stuck one."""


@dataclass(frozen=True, slots=True)
class Verifying:
    """How hits are verified.

    Attributes:
        judge: compares two answers.
        window_seconds: how long a sample is kept.
        ask: asks a model by a recipe; ``ask_model`` does so through LiteLLM.
    """

    judge: AnswerJudge
    window_seconds: float
    ask: Callable[[dict[str, Any], bool, float], Answer] = ask_model


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies hits. Thread-safe.

    Attributes:
        log: runs flows against the log's server.
        keys: names there.
        acknowledger: schedules retries.
        metrics: where it is counted.
        limits: bounds.
        how: what asks and what compares.
    """

    log: Runner
    keys: LogKeys
    acknowledger: Acknowledger
    metrics: Metrics
    limits: Limits
    how: Verifying

    def write(self, rows: Sequence[Logged], lane: str, space: Space) -> int:  # noqa: ARG002 - the port's
        """Verify the hits that the messages name; return how many were judged."""
        with ThreadPoolExecutor(max(1, len(rows)), thread_name_prefix="nearhit-verify") as pool:
            return sum(pool.map(lambda row: self.verify(row, lane), rows))

    def verify(self, row: Logged, lane: str) -> int:
        """Verify one hit; return 1 where it was judged, else 0."""
        try:
            request = decode(row.blob)
        except NewerMessageError as error:
            self.acknowledger.unreadable(row, lane, error)
            return 0
        except MessageError as error:
            self._give_up(row, lane, None, "unreadable", error)
            return 0
        if row.deliveries > self.limits.max_deliveries:
            self._give_up(row, lane, request, "poison", f"{row.deliveries - 1} workers fell silent over it")
            return 0
        try:
            agrees = self.agrees(request)
        except UnavailableError as error:
            if row.tries + 1 < min(MAX_TRIES, self.limits.max_tries):
                self.acknowledger.retry_later([row], lane, "model", error)
            else:
                self._give_up(row, lane, request, "unavailable", error)
        except ConfigError as error:
            self._give_up(row, lane, request, "misconfigured", error)
        except ContractError as error:
            self._give_up(row, lane, request, "refused", error)
        else:
            self._count(row, lane, _sample(request, TRUE_HIT if agrees else FALSE_HIT), "")
            return 1
        return 0

    def agrees(self, request: VerificationRequest) -> bool:
        """Return whether the model's answer of now agrees with the one that was served."""
        fresh = self.how.ask(request.recipe, True, ASK_SECONDS)
        self._spent(fresh.usage.cost_dollars if fresh.usage else 0.0)
        cached = text_of(entry.decode_response(request.cached_answer))
        model = str(request.recipe.get("model", ""))
        judgement = self.how.judge.judge(Answers(request.question, cached, str(json.loads(fresh.response)), model))
        self._spent(judgement.dollars)
        return judgement.agrees

    def _give_up(self, row: Logged, lane: str, request: VerificationRequest | None, reason: str, why: object) -> None:
        log.info("hit not verified: %s", why, extra={"action": "verify", "reason": reason})
        sample = _sample(request, UNJUDGED) if request is not None else None
        self._count(row, lane, sample, f"_{reason}")

    def _count(self, row: Logged, lane: str, sample: Sample | None, reason: str) -> None:
        """Take a request out of the log, and its sample in, in one step: nobody counts it again."""
        verdict = sample.verdict if sample is not None else UNJUDGED
        if sample is None:
            self.acknowledger.ack([row], lane)
        else:
            kept = fill_log.Kept(
                self.keys.verified, fields_of(sample), MAX_SAMPLES, round(self.how.window_seconds * 1000)
            )
            if not self.log.run(fill_log.exchange(self.keys, lane, row, kept), self.limits.store_seconds):
                return  # another worker has taken it over, and counts it
        self.metrics.verifications[verdict + reason].inc()

    def _spent(self, dollars: float) -> None:
        if dollars > 0:
            self.metrics.verify_dollars.inc(dollars)


def _sample(request: VerificationRequest, verdict: str) -> Sample:
    return Sample(
        verdict=verdict,
        similarity=request.similarity,
        threshold=request.threshold,
        origin=request.origin,
        since_ms=request.since_ms,
        scope=request.scope,
    )
