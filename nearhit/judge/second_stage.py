"""Second stage: judges neighbours of a lookup and handles a judge's failure."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from nearhit.domain.hit_policy import Refused
from nearhit.domain.neighbour import Chosen
from nearhit.domain.outcome import MissReason, Nearest
from nearhit.errors import ContractError, NearhitError, UnavailableError
from nearhit.flow.ports import Judgement, Sameness
from nearhit.flow.steps import Compare, Flow
from nearhit.judge.verdict_cache import VerdictCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.domain.question import Question
    from nearhit.judge.deadline_judge import DeadlineJudge
    from nearhit.telemetry.metrics import Metrics

log = logging.getLogger("nearhit")

FAILED = "failed"
"""Verdict, in metrics and in a refusal, of a judge that gave none."""

VERDICTS = (*(one.value for one in Sameness), FAILED)
ASKED, REMEMBERED = "asked", "remembered"


class SecondStage:
    """The second stage of one cache. Thread-safe.

    Args:
        judge: who is asked.
        metrics: where judgements are counted.
        seconds: longest time of all judging in one lookup.
        below: only neighbours to which the guard gives a smaller chance than this are judged; a similarity stands in
            for the chance where no guard gave one. 1 judges all.
        accept_on_failure: serve what the guard accepted when the judge fails; else it is refused.
    """

    def __init__(
        self,
        judge: DeadlineJudge,
        metrics: Metrics,
        *,
        seconds: float,
        below: float = 1.0,
        accept_on_failure: bool = False,
    ) -> None:
        self.judge = judge
        self._metrics = metrics
        self._seconds = seconds
        self._below = below
        self._accept_on_failure = accept_on_failure
        self._verdicts = VerdictCache()
        self._counts = metrics.judgements
        self._counts.start((verdict, ASKED) for verdict in VERDICTS)
        self._counts.start((verdict, REMEMBERED) for verdict in VERDICTS if verdict != FAILED)

    def warm_up(self) -> None:
        """Load the judge before the first lookup needs it; a failure is logged and counted."""
        try:
            self.judge.load()
        except NearhitError as error:
            self._metrics.count_error("judge", error)
            log.error("the judge cannot be loaded: %s", error, extra={"action": "judge"})  # noqa: TRY400 - named already

    def confirm(
        self, choice: Chosen, question: Question, following: Callable[[], Flow[Chosen | Refused]]
    ) -> Flow[Chosen | Refused]:
        """Return the first of the chosen neighbours that the judge confirms, or why none may be served.

        A miss here has the reason ``judge`` and names the nearest neighbour that was refused. Once the judge has failed
        or its time is over, no further neighbour is examined: none could be confirmed.

        Args:
            choice: what threshold and guard have accepted.
            question: what is asked.
            following: chooses the next neighbour after one that is refused.
        """
        end = time.monotonic() + self._seconds
        first: Refused | None = None
        now: Chosen | Refused = choice
        while isinstance(now, Chosen):
            refusal = yield from self._refusal(question.text, now, end)
            if not refusal:
                return now
            nearest = Nearest(now.entry.prompt, now.similarity, refusal)
            first = first or Refused(MissReason.JUDGE, nearest)
            if refusal == FAILED or time.monotonic() >= end:
                return first
            now = yield from following()
        return first or now

    def _refusal(self, prompt: str, chosen: Chosen, end: float) -> Flow[str]:
        """Return why a neighbour may not be served; empty where it may."""
        candidate = chosen.entry.prompt
        certainty = chosen.similarity if chosen.probability is None else chosen.probability
        if candidate == prompt or certainty >= self._below < 1.0:
            return ""
        said = self._verdicts.get(self.judge.name, prompt, candidate)
        if said is not None:
            self._counts[said.verdict.value, REMEMBERED].inc()
        else:
            said = yield from self._asked(prompt, candidate, end)
        if said is None:
            return "" if self._accept_on_failure else FAILED
        return "" if said.verdict is Sameness.SAME else said.verdict.value

    def _asked(self, prompt: str, candidate: str, end: float) -> Flow[Judgement | None]:
        try:
            (said,) = yield Compare(((prompt, candidate),), end - time.monotonic())
        except (UnavailableError, ContractError) as error:
            said = error
        if not isinstance(said, Judgement):
            self._counts[FAILED, ASKED].inc()
            return None
        self._counts[said.verdict.value, ASKED].inc()
        self._verdicts.put(self.judge.name, prompt, candidate, said)
        return said
