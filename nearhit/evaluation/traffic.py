"""Traffic: unlabelled questions, and the pairs that a cache would have decided on."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nearhit.errors import ConfigError
from nearhit.evaluation.embedded import Embed, Embedded, nearest
from nearhit.evaluation.rows import Text, objects, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nearhit.domain.hit_policy import GuardPort

_BLOCK = 64
_KEPT = ("kind", "source", "tenant", "namespace", "scope")


class _Row(Struct):
    """A row of a file of traffic."""

    prompt: Text
    candidate: Text = ""
    kind: str = ""
    source: str = ""
    tenant: str = ""
    namespace: str = ""
    scope: str = ""


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
    traffic = Traffic([], [])
    for line, row in objects(path):
        if "same" in row:
            raise ConfigError(f"{path} line {line} is labelled already: calibrate it without a judge")
        one = row_of(_Row, row, path, line)
        whose, labels = (one.tenant, one.namespace, one.scope), {at: row[at] for at in _KEPT if row.get(at)}
        if one.candidate:
            traffic.pairs.append(Candidate(one.prompt, one.candidate, whose, labels))
        else:
            traffic.questions.append(TrafficQuestion(one.prompt, whose, labels))
    if bool(traffic.pairs) == bool(traffic.questions):
        raise ConfigError(f"{path} must hold questions, or pairs with 'candidate', and not both or neither")
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
    embedded = Embedded((one.prompt for one in questions), embed)
    found: list[Candidate] = []
    for group in groups.values():
        own = list(group.values())
        rows = embedded.vectors(group)
        for start in range(0, len(own), _BLOCK):
            products = rows[start : start + _BLOCK] @ rows[: start + _BLOCK].T
            for at, one in enumerate(own[start : start + _BLOCK], start):
                before = products[at - start, :at]
                for number in nearest(before, neighbours):
                    near = own[number].prompt
                    if before[number] >= floor and (
                        guard is None or guard.judge(one.prompt, near, float(before[number])).accepted
                    ):
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
