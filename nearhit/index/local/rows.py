"""Rows: the vectors of one large scope, searched exactly above a similarity."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nearhit.index.local import products
from nearhit.index.local.codes import WORDS
from nearhit.index.local.small_scopes import Few

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nearhit.index.local.codes import Coded, Codes

BLOCK_ROWS = 8192
"""Rows of a block. Growth beyond it adds a block and copies nothing; a scan's temporaries stay in cache."""

_FIRST_ROWS = 640
_SCAN_ALL_ROWS = 512
_FIRST_LOOK_ROWS = 64
_SAMPLE_STEP = 16
_RESCORE_ROWS = 4096
_NEVER_MS = 2**63 - 1
_GONE = np.float32(-2.0)  # below every similarity


@dataclass(frozen=True, slots=True)
class _Block:
    bits: NDArray[np.uint64]  # (WORDS, capacity): one word of all rows at a time is what scans fast
    rows: NDArray[np.int16]
    scales: NDArray[np.float32]
    expires: NDArray[np.int64]

    @staticmethod
    def make(capacity: int, dimension: int) -> _Block:
        return _Block(
            bits=np.empty((WORDS, capacity), np.uint64),
            rows=np.empty((capacity, dimension), np.int16),
            scales=np.empty(capacity, np.float32),
            expires=np.empty(capacity, np.int64),
        )

    @property
    def capacity(self) -> int:
        return self.scales.size

    @property
    def nbytes(self) -> int:
        return self.bits.nbytes + self.rows.nbytes + self.scales.nbytes + self.expires.nbytes

    def copy_row(self, row: int, source: _Block, source_row: int) -> None:
        self.bits[:, row] = source.bits[:, source_row]
        self.rows[row] = source.rows[source_row]
        self.scales[row] = source.scales[source_row]
        self.expires[row] = source.expires[source_row]

    def copy_all(self, source: _Block) -> None:
        self.bits[:, : source.capacity] = source.bits
        self.rows[: source.capacity] = source.rows
        self.scales[: source.capacity] = source.scales
        self.expires[: source.capacity] = source.expires


@dataclass(slots=True)
class _Query:
    """One search: the rows seen so far, by number, with their similarities."""

    vector: NDArray[np.float32]
    bits: NDArray[np.uint64]
    now_ms: int
    k: int
    numbers: list[NDArray[np.intp]] = field(default_factory=list)
    similarities: list[NDArray[np.float32]] = field(default_factory=list)

    def kth(self) -> float:
        """Return the similarity of the k-th nearest row so far; -2 when there are fewer."""
        seen = np.concatenate(self.similarities)
        return float(np.partition(seen, -self.k)[-self.k]) if seen.size >= self.k else float(_GONE)

    def best(self) -> tuple[list[int], list[float]]:
        numbers, similarities = np.concatenate(self.numbers), np.concatenate(self.similarities)
        order = _best(similarities, self.k)
        return numbers[order].tolist(), similarities[order].tolist()


def nearest_of(few: Few, vector: NDArray[np.float32], k: int, now_ms: int) -> list[tuple[bytes, float]]:
    """Return up to ``k`` names of a small scope, as ``ScopeRows.nearest`` of a large one; compares all rows."""
    similarities = products.with_vector(few.rows, vector)[: len(few.names)] * few.scales
    similarities[few.expires <= now_ms] = _GONE
    order = _best(similarities, k)
    return [(few.names[at], near) for at, near in zip(order.tolist(), similarities[order].tolist(), strict=True)]


def _best(similarities: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return where the ``k`` highest similarities are, highest first, without those of rows that are over."""
    order = np.arange(similarities.size)
    if order.size > k:
        order = np.argpartition(similarities, -k)[-k:]
    order = order[similarities[order] > _GONE]
    return order[np.argsort(-similarities[order], kind="stable")]


class ScopeRows:
    """The vectors of one scope of many. One thread writes, any number search.

    A search takes no lock while it scans: it starts over when a row was written meanwhile, and then it
    holds the writer back. Rows are dense; the last one moves into the place of one that goes.

    Args:
        codes: makes the codes of the query.
        exact_above: a row of at least this similarity is never left out of the nearest; below it the nearest
            rows are approximate, which is what keeps a search that finds nothing fast.
    """

    def __init__(self, codes: Codes, exact_above: float) -> None:
        self._codes = codes
        self._exact_above = exact_above
        self._lock = threading.Lock()
        self._version = 0
        self._names: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._blocks: tuple[_Block, ...] = ()
        self._earliest_end_ms = _NEVER_MS

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: bytes) -> bool:
        return name in self._numbers

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; names come on top, about 200 bytes each."""
        return sum(block.nbytes for block in self._blocks)

    def few(self) -> Few:
        """Return a copy of all vectors, for a scope that has become small."""
        size = len(self._names)
        blocks = [(block, min(block.capacity, size - start)) for start, block in self._numbered()]
        return Few(
            list(self._names),
            np.concatenate([block.rows[:used] for block, used in blocks]),
            np.concatenate([block.scales[:used] for block, used in blocks]),
            np.concatenate([block.expires[:used] for block, used in blocks]),
        )

    def put(self, name: bytes, coded: Coded, index: int, expires_ms: int) -> None:
        """Add the vector at ``index`` of ``coded`` under ``name``, or replace the one there."""
        with self._lock:
            self._version += 1
            number = self._numbers.get(name)
            if number is None:
                number = self._append(name)
            block, row = self._at(number)
            block.bits[:, row] = coded.bits[index]
            block.rows[row] = coded.rows[index]
            block.scales[row] = coded.scales[index]
            block.expires[row] = expires_ms
            self._earliest_end_ms = min(self._earliest_end_ms, expires_ms)

    def drop(self, name: bytes) -> bool:
        """Remove a vector; return whether it was there."""
        with self._lock:
            number = self._numbers.pop(name, None)
            if number is None:
                return False
            self._version += 1
            last_name = self._names.pop()
            last = len(self._names)
            if number != last:
                block, row = self._at(number)
                block.copy_row(row, *self._at(last))
                self._names[number] = last_name
                self._numbers[last_name] = number
            if last % BLOCK_ROWS == 0:
                self._blocks = self._blocks[:-1]
            return True

    def expired(self, now_ms: int) -> list[bytes]:
        """Return the names of the vectors whose time is over, to be dropped. Only for the writing thread."""
        if now_ms < self._earliest_end_ms:
            return []  # spares a scan of every scope twice a second
        names: list[bytes] = []
        self._earliest_end_ms = _NEVER_MS
        for start, block in self._numbered():
            ends = block.expires[: min(block.capacity, len(self._names) - start)]
            over = ends <= now_ms
            names += [self._names[start + row] for row in np.flatnonzero(over).tolist()]
            self._earliest_end_ms = int(np.min(ends, where=~over, initial=self._earliest_end_ms))
        return names

    def nearest(self, vector: NDArray[np.float32], k: int, now_ms: int) -> list[tuple[bytes, float]]:
        """Return up to ``k`` names with similarities, nearest first, of vectors not expired at ``now_ms``."""
        bits = self._codes.bits(vector[None, :])[0]
        with self._lock:
            version, blocks, size = self._version, self._blocks, len(self._names)
        numbers, similarities = self._scan(_Query(vector, bits, now_ms, k), blocks, size)
        with self._lock:
            if version != self._version:
                query = _Query(vector, bits, now_ms, k)
                numbers, similarities = self._scan(query, self._blocks, len(self._names))
            return [(self._names[number], near) for number, near in zip(numbers, similarities, strict=True)]

    def _append(self, name: bytes) -> int:
        number = len(self._names)
        if number == sum(block.capacity for block in self._blocks[-1:]) + BLOCK_ROWS * max(len(self._blocks) - 1, 0):
            last = self._blocks[-1] if self._blocks else None
            if last is None or last.capacity == BLOCK_ROWS:
                capacity = BLOCK_ROWS if self._blocks else _FIRST_ROWS
                self._blocks = (*self._blocks, _Block.make(capacity, self._codes.dimension))
            else:
                grown = _Block.make(min(last.capacity * 5 // 4, BLOCK_ROWS), self._codes.dimension)
                grown.copy_all(last)
                self._blocks = (*self._blocks[:-1], grown)
        self._names.append(name)
        self._numbers[name] = number
        return number

    def _at(self, number: int) -> tuple[_Block, int]:
        return self._blocks[number // BLOCK_ROWS], number % BLOCK_ROWS

    def _numbered(self) -> Sequence[tuple[int, _Block]]:
        return [(index * BLOCK_ROWS, block) for index, block in enumerate(self._blocks)]

    def _scan(self, query: _Query, blocks: tuple[_Block, ...], size: int) -> tuple[list[int], list[float]]:
        if not size:
            return [], []
        if size <= _SCAN_ALL_ROWS:
            _score(query, blocks, np.arange(size))
            return query.best()
        apart = _bits_apart(query, blocks, size)
        near = _first_look(apart, max(_FIRST_LOOK_ROWS, 4 * query.k))
        _score(query, blocks, np.flatnonzero(apart <= near))
        limit = self._codes.limit(max(query.kth(), self._exact_above))
        if limit > near:
            _score(query, blocks, np.flatnonzero((apart > near) & (apart <= limit)))
        return query.best()


def _bits_apart(query: _Query, blocks: tuple[_Block, ...], size: int) -> NDArray[np.uint16]:
    """Return in how many sign bits every row differs from the query."""
    apart = np.empty(size, np.uint16)
    for index, block in enumerate(blocks):
        start = index * BLOCK_ROWS
        used = min(BLOCK_ROWS, size - start)
        differing = np.bitwise_xor(block.bits[:, :used], query.bits[:, None])
        counts = np.bitwise_count(differing)
        np.add.reduce(counts, axis=0, dtype=np.uint16, out=apart[start : start + used])
    return apart


def _first_look(apart: NDArray[np.uint16], rows: int) -> int:
    """Return a bit count that about ``rows`` rows are within, more where many are equally far."""
    if rows >= apart.size:
        return int(apart.max())
    sample = apart[::_SAMPLE_STEP]
    rank = min(rows // _SAMPLE_STEP, sample.size - 1)
    guess = int(np.partition(sample, rank)[rank])
    if np.count_nonzero(apart <= guess) >= rows // 4:
        return guess
    return int(np.partition(apart, rows)[rows])


def _score(query: _Query, blocks: tuple[_Block, ...], numbers: NDArray[np.intp]) -> None:
    """Add rows, given by ascending numbers, to what the query has seen."""
    for start in range(0, numbers.size, _RESCORE_ROWS):
        part = numbers[start : start + _RESCORE_ROWS]
        rows = np.empty((products.padded(part.size, query.vector.size), query.vector.size), np.int16)
        scales = np.empty(part.size, np.float32)
        expires = np.empty(part.size, np.int64)
        for index in range(int(part[0]) // BLOCK_ROWS, int(part[-1]) // BLOCK_ROWS + 1):
            first, last = part.searchsorted((index * BLOCK_ROWS, (index + 1) * BLOCK_ROWS))
            within, block = part[first:last] - index * BLOCK_ROWS, blocks[index]
            # "clip" spares a copy that numpy makes for the case of a number out of range; none is
            block.rows.take(within, axis=0, out=rows[first:last], mode="clip")
            block.scales.take(within, out=scales[first:last], mode="clip")
            block.expires.take(within, out=expires[first:last], mode="clip")
        similarities = products.with_vector(rows, query.vector)[: part.size] * scales
        similarities[expires <= query.now_ms] = _GONE
        query.numbers.append(part)
        query.similarities.append(similarities)
