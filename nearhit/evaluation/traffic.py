"""Traffic: questions without labels, and the pairs in them that a cache would have had to decide on."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.errors import ConfigError
from nearhit.evaluation.rows import label_of, objects, scope_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nearhit.domain.hit_policy import GuardPort

    Embed = Callable[[Sequence[str]], NDArray[np.float32]]

_BLOCK = 64
_KEPT = ("kind", "source", "tenant", "namespace", "scope")


@dataclass(frozen=True, slots=True)
class TrafficQuestion:
    """One question of the traffic, in its order.

    Attributes:
        prompt: its text.
        whose: tenant, namespace and scope; answers never cross these, nor do pairs.
        labels: what else the row says and a labelled pair shall say, too.
    """

    prompt: str
    whose: tuple[str, ...] = ("", "", "")
    labels: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Would the answer to ``candidate`` be right for ``prompt``? Nobody has said so yet.

    Attributes:
        prompt: the question that was asked.
        candidate: one that was asked before.
        whose: as that of a question.
        labels: as those of a question.
    """

    prompt: str
    candidate: str
    whose: tuple[str, ...] = ("", "", "")
    labels: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a file holds: pairs, or questions."""

    pairs: list[Candidate]
    questions: list[TrafficQuestion]


def read_traffic(path: str | Path) -> Traffic:
    """Return the traffic in a file of JSON lines: pairs where its rows have ``candidate``, else questions in order.

    Every row has ``prompt``, and may say whose it is (``scope``, ``tenant``, ``namespace``), ``kind`` and ``source``.

    Raises:
        ConfigError: the file cannot be read or is empty, or a row is wrong or labelled; the message names the line.
    """
    name = str(path)
    traffic = Traffic([], [])
    for line, row in objects(path):
        if "same" in row:
            raise ConfigError(f"{name} line {line} is labelled already: calibrate it without a judge")
        prompt, labels = text_of(row, "prompt", name, line), {at: row[at] for at in _KEPT if row.get(at)}
        _, _, tenant, namespace = (label_of(row, at, name, line) for at in _KEPT[:-1])
        whose = (tenant, namespace, scope_of(row, name, line))
        if "candidate" in row:
            traffic.pairs.append(Candidate(prompt, text_of(row, "candidate", name, line), whose, labels))
        else:
            traffic.questions.append(TrafficQuestion(prompt, whose, labels))
    if bool(traffic.pairs) == bool(traffic.questions):
        raise ConfigError(f"{name} must hold questions, or pairs with 'candidate', and not both or neither")
    return traffic


def nearest_pairs(
    questions: Sequence[TrafficQuestion],
    embed: Embed,
    guard: GuardPort | None,
    *,
    neighbours: int = 4,
    floor: float = 0.5,
) -> list[Candidate]:
    """Return each question with the nearest one before it that a lookup could have answered it with.

    As in a lookup: among the questions of the same caller, the nearest few, nearest first, the first that the guard
    accepts. Repeats are exact hits and make no pair. Unlike there, every question counts as answered: a hit stores
    nothing, but which ones are hits is not known before there is a threshold.

    Args:
        questions: in time order.
        embed: texts to ``(n, dim) float32, unit rows``.
        guard: the one in force; ``None`` trusts the similarity alone.
        neighbours: how many of the nearest are looked at.
        floor: no pair is less similar than this.
    """
    groups: dict[tuple[str, ...], dict[str, TrafficQuestion]] = {}
    for one in questions:
        groups.setdefault(one.whose, {}).setdefault(one.prompt, one)
    texts = list(dict.fromkeys(one.prompt for one in questions))
    vectors = embed(texts)
    place = {text: at for at, text in enumerate(texts)}
    found: list[Candidate] = []
    for group in groups.values():
        own = list(group.values())
        rows = vectors[[place[one.prompt] for one in own]]
        for at, best in _nearest(rows, neighbours, floor):
            one = own[at]
            for number, similarity in best:
                near = own[number].prompt
                if guard is None or guard.judge(one.prompt, near, similarity).accepted:
                    found.append(Candidate(one.prompt, near, one.whose, one.labels))
                    break
    return found


def sample(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """Return ``most`` of the candidates, drawn by a digest of their texts.

    The draw is as good as a random one, and the same whenever it is made: a larger one holds a smaller one.
    """

    def drawn(one: Candidate) -> bytes:
        texts = "\0".join((one.prompt, one.candidate, *one.whose))
        return blake2b(texts.encode("utf-8", "surrogatepass"), digest_size=16).digest()

    return sorted(candidates, key=drawn)[:most]


def _nearest(rows: NDArray[np.float32], neighbours: int, floor: float) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """Yield each row's number with the nearest rows before it, nearest first."""
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        products = block @ rows[: start + len(block)].T
        for at in range(max(1, start), start + len(block)):
            before = products[at - start, :at]
            some = min(neighbours, at)
            best = np.argpartition(-before, some - 1)[:some]
            best = best[np.argsort(-before[best], kind="stable")]
            yield at, [(int(one), float(before[one])) for one in best if before[one] >= floor]
