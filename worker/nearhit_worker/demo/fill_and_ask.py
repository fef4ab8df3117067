"""Fill and ask: what the demo does with a cache: it fills everything through the queue, then asks."""

from __future__ import annotations

import queue
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

from nearhit.domain.outcome import FillOutcome, Miss
from nearhit.errors import UnavailableError
from nearhit_worker.demo.figures import Asked, Filled, is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.cache import SemanticCache
    from nearhit_worker.demo.questions import DemoQuestion

_SEARCHABLE_SECONDS = 30.0
_LOOK_SECONDS = 0.002
_SHOWN_SERIES = (
    "nearhit_upserts_total",
    "nearhit_lag_seconds_sum",
    "nearhit_lag_seconds_count",
    "nearhit_batch_fills_count",
    "nearhit_log_depth",
)


def fill_all(
    cache: SemanticCache, answers: Sequence[tuple[str, str]], tell: Callable[[int, int], None] = lambda *_: None
) -> Filled:
    """Ask each question, miss, give the answer to ``fill``, and wait until all are searchable.

    The first one goes alone: it meets a worker and a broker connection that are still cold.

    Args:
        cache: which one.
        answers: questions with their answers.
        tell: is told how many of how many are searchable.

    Raises:
        UnavailableError: the log does not take a fill, or the first one does not arrive.
    """
    first = Watch(cache)
    first.expect(answers[0][0], _fill(cache, *answers[0]))
    first.finish()
    if first.lost:
        raise UnavailableError(f"the first fill was not searchable within {_SEARCHABLE_SECONDS:g} s")
    watch = Watch(cache, lambda done: tell(done + 1, len(answers)))
    for prompt, answer in answers[1:]:
        watch.expect(prompt, _fill(cache, prompt, answer))
    watch.finish()
    return Filled(len(answers), first.lags[0], tuple(watch.lags), tuple(watch.lost))


def ask_all(cache: SemanticCache, questions: Sequence[DemoQuestion]) -> list[Asked]:
    """Ask every question, one after the other."""
    return [Asked(question, cache.lookup(question.prompt)) for question in questions]


def scrape(url: str) -> list[str]:
    """Return some samples of a worker's /metrics, as they are on the wire."""
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - an address that we made
        lines = reply.read().decode().splitlines()
    interactive = [line for line in lines if line.startswith(_SHOWN_SERIES) and 'lane="bulk"' not in line]
    return interactive[: len(_SHOWN_SERIES)]


class Watch:
    """Looks, from a thread of its own, when each fill becomes searchable: its question is then an exact hit.

    Fills become searchable in about the order they were made, so that it waits for the oldest alone.

    Args:
        cache: what to ask.
        tell: is told how many became searchable.

    Attributes:
        lags: seconds from fill to searchable, in order.
        lost: prompts that were not searchable in time.
    """

    def __init__(self, cache: SemanticCache, tell: Callable[[int], None] = lambda _done: None) -> None:
        self._cache = cache
        self._tell = tell
        self._waiting: queue.SimpleQueue[tuple[str, float] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="nearhit-demo-watch", daemon=True)
        self._thread.start()
        self.lags: list[float] = []
        self.lost: list[str] = []

    def expect(self, prompt: str, filled: float) -> None:
        """Wait for ``prompt``, which was filled at the monotonic time ``filled``."""
        self._waiting.put((prompt, filled))

    def finish(self) -> None:
        """Return when all have been seen or given up."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            prompt, filled = waiting
            while not (there := is_exact(self._cache.lookup(prompt))):  # a near question's answer is not this one's
                if time.monotonic() - filled >= _SEARCHABLE_SECONDS:
                    break
                time.sleep(_LOOK_SECONDS)
            if there:
                self.lags.append(time.monotonic() - filled)
                self._tell(len(self.lags))
            else:
                self.lost.append(prompt)


def _fill(cache: SemanticCache, prompt: str, answer: str) -> float:
    """Fill one answer and return when."""
    outcome = cache.lookup(prompt)
    asked = outcome if isinstance(outcome, Miss) else prompt  # a hit here is a near question that came before
    now = time.monotonic()
    became = cache.fill(asked, answer)
    if became is not FillOutcome.ACCEPTED:
        raise UnavailableError(f"a fill was {became.value}")
    return now
