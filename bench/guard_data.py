"""Examples: labelled pairs and the near neighbours of streams, as the values that the guard's network sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bench.guard_made import made_pairs
from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.evaluation import PairRow, StreamRow, format_of, pair_similarities, read_pairs, read_stream
from nearhit.guard.compare import compare_texts
from nearhit.guard.features import FEATURES, features

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FOLDS: Final = 5
_NEIGHBOURS: Final = 25
_NEAR: Final = 0.7
_EMBED_SECONDS: Final = 7200.0
# A stream whose clusters are broad intents says little about which difference matters, and has many rows.
_BROAD_CLUSTER: Final = 20
_WEIGHT_LOOSE: Final = 0.3
_WEIGHT_STREAM: Final = 0.3
_WEIGHT_MADE: Final = 0.22
# Each third pair is learnt from a second time as one of words that are not known.
_WEIGHT_PLAIN: Final = 0.3
_EVERY_PLAIN: Final = 3
# Pairs that a usual threshold lets through are those that the guard is asked about.
_WEIGHT_STRICT: Final = 1.3
_WEIGHT_NEAR: Final = 2.0
_VERY_NEAR: Final = 0.87
_WEIGHT_BROAD: Final = 0.2
_BROAD_KEPT: Final = {True: 0.1, False: 0.5}


class Vectors:
    """Vectors of all-MiniLM-L6-v2, remembered in a file when one is named."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, Floats] = {}
        if path is not None and path.exists():
            with np.load(path, allow_pickle=False) as stored:
                self._known = dict(zip(stored["texts"].tolist(), stored["vectors"], strict=True))

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Return ``(n, 384) float32, unit rows`` for ``texts``."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            vectors = MiniLMEmbedder().embed(new, _EMBED_SECONDS).vectors
            self._known.update(zip(new, vectors, strict=True))
            if self._path is not None:
                np.savez(self._path, texts=np.array(list(self._known)), vectors=np.array(list(self._known.values())))
        return np.array([self._known[text] for text in texts], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples to train on.

    Attributes:
        values: ``(n, features)``.
        right: whether the candidate's answer is right for the prompt.
        weights: how much each counts.
        texts: the two texts of each, or of the pair that it was made from.
        sources: where each comes from; never a feature, only to leave one out.
    """

    values: Floats
    right: NDArray[np.bool_]
    weights: Floats
    texts: list[tuple[str, str]]
    sources: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Data:
    """The files of a data set, read.

    Attributes:
        pairs: the rows of its files of pairs.
        streams: the rows of each stream, by file name.
    """

    pairs: list[PairRow]
    streams: dict[str, list[StreamRow]]


def read(files: Sequence[Path]) -> Data:
    """Return the rows of ``files``, pairs and streams told apart by their first row."""
    pairs: list[PairRow] = []
    streams: dict[str, list[StreamRow]] = {}
    for path in files:
        if format_of(path) == "pairs":
            pairs += read_pairs(path)
        else:
            streams[path.name.split(".")[0]] = read_stream(path)
    return Data(pairs, streams)


def examples(data: Data, vectors: Vectors) -> Examples:
    """Return the examples of ``data``: its pairs, near neighbours in its streams, and pairs made of its pairs.

    Those that were made come behind the others, and last some pairs again, as the guard sees another language. Both are
    there to train on, never to measure.
    """
    rows = [(row.prompt, row.candidate, row.same, row.source) for row in data.pairs]
    near = pair_similarities(data.pairs, vectors).tolist()
    weights = [_weight(row, similarity) for row, similarity in zip(data.pairs, near, strict=True)]
    for stream in data.streams.values():
        for row, similarity, weight in _neighbours(stream, vectors):
            rows.append(row)
            near.append(similarity)
            weights.append(weight)
    texts = [(row[0], row[1]) for row in rows]
    made = made_pairs(data.pairs)
    rows += [(one.prompt, one.candidate, one.same, one.row.source) for one in made]
    near += np.einsum(
        "ij,ij->i", vectors([one.prompt for one in made]), vectors([one.candidate for one in made])
    ).tolist()
    weights += [_WEIGHT_MADE] * len(made)
    texts += [(one.row.prompt, one.row.candidate) for one in made]
    known = len(rows)  # those behind are some of the pairs again, as the guard sees words that it does not know
    again = range(0, len(data.pairs), _EVERY_PLAIN)
    rows += [rows[n] for n in again]
    near += [near[n] for n in again]
    weights += [weights[n] * _WEIGHT_PLAIN for n in again]
    texts += [texts[n] for n in again]
    values = np.zeros((len(rows), len(FEATURES)), dtype=np.float32)
    for number, ((one, other, _, _), similarity) in enumerate(zip(rows, near, strict=True)):
        found = features(compare_texts(one, other, number >= known), min(1.0, max(0.0, similarity)))
        values[number, : len(found)] = found
    return Examples(
        values,
        np.array([row[2] for row in rows]),
        np.array(weights, dtype=np.float32),
        texts,
        np.array([row[3] for row in rows]),
    )


def _weight(row: PairRow, similarity: float) -> float:
    if row.kind == "same_intent":
        return _WEIGHT_LOOSE
    return _WEIGHT_NEAR if similarity >= _VERY_NEAR else _WEIGHT_STRICT


def _neighbours(stream: Sequence[StreamRow], vectors: Vectors) -> list[tuple[tuple[str, str, bool, str], float, float]]:
    distinct = list({row.prompt: row for row in stream}.values())
    rows = vectors([row.prompt for row in distinct])
    broad = is_broad(stream)
    chance = np.random.default_rng(1)
    seen: set[tuple[int, int]] = set()
    found = []
    for number, row in enumerate(distinct):
        near = rows @ rows[number]
        near[number] = -1.0
        for other in np.argsort(-near)[:_NEIGHBOURS]:
            pair = (min(number, int(other)), max(number, int(other)))
            if near[other] < _NEAR or pair in seen:
                continue
            seen.add(pair)
            same = row.cluster == distinct[other].cluster
            if broad and chance.random() > _BROAD_KEPT[same]:
                continue
            weight = _WEIGHT_BROAD * (5.0 if same else 1.0) if broad else _WEIGHT_STREAM
            found.append(((row.prompt, distinct[other].prompt, same, row.source), float(near[other]), weight))
    return found


def is_broad(stream: Sequence[StreamRow]) -> bool:
    """Return whether the clusters of ``stream`` are broad intents rather than one question in several wordings."""
    return len({row.prompt for row in stream}) > _BROAD_CLUSTER * len({row.cluster for row in stream})


def folds(data: Data) -> dict[str, int]:
    """Return the fold of each text: texts that are in one pair, or in one cluster of a stream, share it."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for row in data.pairs:
        parent[root("t" + row.prompt)] = root("t" + row.candidate)
    chance = np.random.default_rng(0)
    broad = [row for stream in data.streams.values() if is_broad(stream) for row in stream]
    for stream in data.streams.values():
        if not is_broad(stream):
            for question in stream:
                parent[root("t" + question.prompt)] = root("c" + question.cluster)
    roots = sorted({root(node) for node in list(parent)})
    fold_of_root = dict(zip(roots, chance.integers(FOLDS, size=len(roots)).tolist(), strict=True))
    result = {node[1:]: fold_of_root[root(node)] for node in list(parent) if node[0] == "t"}
    # An intent has its texts in pairs with those of others: it is kept together, the pairs are not.
    intents = {cluster: int(chance.integers(FOLDS)) for cluster in sorted({row.cluster for row in broad})}
    result.update({row.prompt: intents[row.cluster] for row in broad})
    return result
