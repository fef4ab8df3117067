"""Labels: a file of pairs labelled by a judge; no pair is labelled twice."""

from __future__ import annotations

import itertools
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearhit.errors import ConfigError, ContractError, JudgeUnavailableError, UnavailableError
from nearhit.evaluation.rows import PairRow, read_pairs, row_of
from nearhit.flow.ports import Judgement, Sameness
from nearhit.resilience.backoff import Backoff
from nearhit.resilience.deadline import BoundedCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nearhit.evaluation.traffic import Candidate
    from nearhit.flow.ports import PairJudge

TRIES = 6
SECONDS = 60.0


class Labels:
    """A file of labelled pairs, as ``read_pairs`` reads it.

    Besides ``same``, a row says which ``judge`` said so, its ``verdict`` and ``probability``. An unsure judge makes a
    pair *not* the same. Who reviews the file changes ``same``; a label that is there is kept as it is.

    Args:
        path: of the file; it need not be there. A last line that was cut off by a kill is dropped.

    Raises:
        ConfigError: the file cannot be read or written, is packed, or holds what is no labelled pair.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.open("ab").close()
            _mend_last_line(path)
        except OSError as error:
            raise ConfigError(f"labels cannot be written to {path}: {error}") from error
        self._rows = {(row.prompt, row.candidate, *row.whose): row for row in read_pairs(path)}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, one: Candidate) -> PairRow | None:
        """Return the pair with its label, or ``None`` where it has none."""
        return self._rows.get((one.prompt, one.candidate, *one.whose))

    def add(self, one: Candidate, said: Judgement, judge: str) -> None:
        """Write a label down; it is in the file when this returns."""
        row = {
            "prompt": one.prompt,
            "candidate": one.candidate,
            "same": said.verdict is Sameness.SAME,
            "judge": judge,
            "verdict": said.verdict.value,
            "probability": round(said.probability, 4),
            **one.labels,
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._rows[(one.prompt, one.candidate, *one.whose)] = row_of(PairRow, row, self._path, len(self._rows) + 1)


@dataclass(frozen=True, slots=True)
class Spent:
    """What labelling took.

    Attributes:
        asked: pairs that the judge was asked about.
        failed: of those, to which it gave no verdict; they have no label.
        tokens: that it used.
        dollars: that it cost, as far as prices are known.
    """

    asked: int = 0
    failed: int = 0
    tokens: int = 0
    dollars: float = 0.0


def held(judge: PairJudge, at_once: int = 1) -> Callable[[str, str, float], Judgement]:
    """Return the judge's ``judge`` with a deadline and with our own errors."""
    calls: BoundedCalls[Judgement] = BoundedCalls(
        judge.name, JudgeUnavailableError, "nearhit-judge", max(8, 2 * at_once)
    )

    def ask(prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        return calls.run(lambda: judge.judge(prompt, candidate, timeout_seconds), timeout_seconds)

    return ask


def label(
    candidates: Sequence[Candidate],
    judge: PairJudge,
    labels: Labels,
    *,
    at_once: int = 4,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> Spent:
    """Let a judge label pairs and return what that took; each label is written down as soon as it is there.

    Args:
        candidates: the pairs.
        judge: who is asked.
        labels: where labels go.
        at_once: questions that are under way at a time.
        tell: is told how many of how many are done.

    Raises:
        ConfigError: the judge's key, model or a parameter is refused.
        UnavailableError: the judge stays away after ``TRIES`` tries with growing waits; Retry-After is honoured.
    """
    ask, backoff, stopped = held(judge, at_once), Backoff(first_seconds=0.5, ceiling_seconds=30.0), threading.Event()

    def patiently(one: Candidate) -> Judgement | None:
        """Return the judgement of a pair; ``None`` where the judge gives no verdict."""
        for tries in itertools.count(1):
            try:
                return ask(one.prompt, one.candidate, SECONDS)
            except ContractError:
                return None
            except UnavailableError as error:
                chance = random.random()  # noqa: S311 - spreads tries, guards nothing
                wait = backoff.wait_seconds(tries, chance, error.retry_after_seconds)
                if tries == TRIES or stopped.wait(wait):
                    raise
        return None

    said: list[Judgement | None] = []
    pool = ThreadPoolExecutor(at_once, "nearhit-label")
    try:
        futures = {pool.submit(patiently, one): one for one in candidates}
        for future in as_completed(futures):
            judgement = future.result()
            if judgement is not None:
                labels.add(futures[future], judgement, judge.name)
            said.append(judgement)
            tell(len(said), len(candidates))
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
    given = [one for one in said if one is not None]
    tokens, dollars = sum(one.tokens for one in given), sum(one.cost_dollars for one in given)
    return Spent(len(said), len(said) - len(given), tokens, dollars)


def _mend_last_line(path: Path) -> None:
    """Drop a last line that a kill cut off, and end one that a person's editor did not end."""
    blob = path.read_bytes()
    if blob.startswith(b"\x1f\x8b"):
        raise ConfigError(f"{path} is packed: labels are added to a plain file")
    whole = blob.rfind(b"\n") + 1
    if whole == len(blob):
        return
    try:
        json.loads(blob[whole:])
    except ValueError:
        path.write_bytes(blob[:whole])
    else:
        path.write_bytes(blob + b"\n")
