"""Small scopes: the vectors of all scopes with few entries, in shared arrays.

A scope has a place on a shelf, and all places of a shelf hold the same number of rows; a scope that outgrows its place
moves to the next shelf. So each scope's rows lie side by side, and 50,000 scopes of one entry take no more than one
scope of 50,000: arrays of their own took 6.6 KB a scope.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from nearhit.index.local import products

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZES: Final[tuple[int, ...]] = (*range(1, 9), *(step << octave for octave in range(1, 7) for step in (5, 6, 7, 8)))
"""Rows of a place, by shelf: from 4 on each is at most a fourth more than the one before."""

MOST_ROWS: Final = SIZES[-1]
"""Rows of the largest place: scopes of more have arrays of their own."""

_BLOCK_ROWS: Final = 1024
_FIRST_ROWS: Final = 8
_TIGHT_ROWS: Final = 8
_UNUSED_MS: Final = -(2**63)  # no entry ends then, and every search takes it for over
_NEVER_MS: Final = 2**63 - 1
_SHELVES: Final = 64  # of which a number says the place and its shelf


class Few(NamedTuple):
    """The vectors of one scope, as the replica keeps them.

    Attributes:
        names: of each.
        rows: ``(n, dim) int16``, or more rows than names.
        scales: ``(n,) float32``.
        expires: ``(n,) int64``, milliseconds since the epoch.
    """

    names: list[bytes]
    rows: NDArray[np.int16]
    scales: NDArray[np.float32]
    expires: NDArray[np.int64]


class _Block(NamedTuple):
    rows: NDArray[np.int16]
    scales: NDArray[np.float32]
    expires: NDArray[np.int64]

    @staticmethod
    def make(rows: int, dimension: int) -> _Block:
        return _Block(
            np.empty((rows, dimension), np.int16), np.empty(rows, np.float32), np.full(rows, _UNUSED_MS, np.int64)
        )

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.scales.nbytes + self.expires.nbytes

    def copy(self, start: int, source: _Block, first: int, count: int) -> None:
        self.rows[start : start + count] = source.rows[first : first + count]
        self.scales[start : start + count] = source.scales[first : first + count]
        self.expires[start : start + count] = source.expires[first : first + count]


class _Shelf:
    """Places of ``size`` rows each, without gaps: the last one moves into the place of one that goes."""

    def __init__(self, number: int, dimension: int) -> None:
        self.number = number
        self.size: int = SIZES[number]
        self._places_a_block = max(_BLOCK_ROWS // self.size, 1)
        self._dimension = dimension
        self.blocks: list[_Block] = []
        self.names: list[bytes] = []
        self.scopes: list[bytes] = []
        self.used: list[int] = []

    def at(self, place: int) -> tuple[_Block, int]:
        """Return the block of a place, and its first row there."""
        block, within = divmod(place, self._places_a_block)
        return self.blocks[block], within * self.size

    def find(self, place: int, name: bytes) -> int:
        """Return which row of a place has a name; -1 when none has."""
        start = place * self.size
        try:
            return self.names.index(name, start, start + self.used[place]) - start
        except ValueError:
            return -1

    def add(self, scope: bytes) -> int:
        """Return a free place."""
        place = len(self.scopes)
        block, within = divmod(place, self._places_a_block)
        if block == len(self.blocks):
            places = self._places_a_block if block else max(_FIRST_ROWS // self.size, 1)
            self.blocks.append(_Block.make(min(places, self._places_a_block) * self.size, self._dimension))
        elif within * self.size == len(self.blocks[block].scales):
            last = self.blocks[block]
            count = len(last.scales)
            grown = _Block.make(min(2 * count, self._places_a_block * self.size), self._dimension)
            grown.copy(0, last, 0, count)
            self.blocks[block] = grown
        self.scopes.append(scope)
        self.names.extend([b""] * self.size)
        self.used.append(0)
        return place

    def remove(self, place: int) -> bytes | None:
        """Give a place back; return the scope that has moved into it."""
        last = len(self.scopes) - 1
        moved = self.scopes[last] if place != last else None
        block, first = self.at(last)
        if moved is not None:
            target, start = self.at(place)
            target.copy(start, block, first, self.size)
            self.names[place * self.size : (place + 1) * self.size] = self.names[last * self.size :]
            self.scopes[place] = moved
            self.used[place] = self.used[last]
        block.expires[first : first + self.size] = _UNUSED_MS
        del self.names[last * self.size :], self.scopes[last], self.used[last]
        if first == 0:
            self.blocks.pop()
        return moved


class SmallScopes:
    """Vectors by scope and name, of scopes of at most ``MOST_ROWS``. One thread writes, any number search."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension
        self._lock = threading.Lock()
        self._shelves = [_Shelf(number, dimension) for number in range(len(SIZES))]
        self._where: dict[bytes, int] = {}
        self._size = 0
        self._earliest_end_ms = _NEVER_MS

    def __len__(self) -> int:
        return self._size

    def __contains__(self, place: tuple[bytes, bytes]) -> bool:
        scope, name = place
        found = self._find(scope)
        return found is not None and found[0].find(found[1], name) >= 0

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; names, scopes and the directory come on top, about 250 bytes a scope of one entry."""
        return sum(block.nbytes for shelf in self._shelves for block in list(shelf.blocks))

    def put(self, scope: bytes, name: bytes, row: NDArray[np.int16], scale: np.float32, expires_ms: int) -> bool:
        """Add a vector, or replace the one of that name; return False when the scope is full."""
        with self._lock:
            shelf, place = self._find(scope) or self._new(scope, 0)
            within = shelf.find(place, name)
            if within < 0:
                within = shelf.used[place]
                if within == MOST_ROWS:
                    return False
                if within == shelf.size:
                    shelf, place = self._move(scope, shelf, place, shelf.number + 1)
                shelf.names[place * shelf.size + within] = name
                shelf.used[place] += 1
                self._size += 1
            block, first = shelf.at(place)
            block.rows[first + within] = row
            block.scales[first + within] = scale
            block.expires[first + within] = expires_ms
            self._earliest_end_ms = min(self._earliest_end_ms, expires_ms)
            return True

    def put_all(self, scope: bytes, few: Few) -> None:
        """Add a scope that is not there yet, with all its vectors, at most ``MOST_ROWS``."""
        with self._lock:
            count = len(few.names)
            shelf, place = self._new(scope, bisect_left(SIZES, count))
            block, first = shelf.at(place)
            block.copy(first, _Block(few.rows, few.scales, few.expires), 0, count)
            shelf.names[place * shelf.size : place * shelf.size + count] = few.names
            shelf.used[place] = count
            self._size += count
            self._earliest_end_ms = min(self._earliest_end_ms, int(few.expires[:count].min(initial=_NEVER_MS)))

    def get(self, scope: bytes) -> Few | None:
        """Return a copy of a scope's vectors, with as many rows as ``products`` wants; ``None`` when it is not here."""
        with self._lock:
            found = self._find(scope)
            if found is None:
                return None
            shelf, place = found
            count = shelf.used[place]
            block, first = shelf.at(place)
            rows = np.empty((products.padded(count, self._dimension), self._dimension), np.int16)
            rows[:count] = block.rows[first : first + count]
            end = first + count
            names = shelf.names[place * shelf.size : place * shelf.size + count]
            return Few(names, rows, block.scales[first:end].copy(), block.expires[first:end].copy())

    def drop(self, scope: bytes, name: bytes) -> bool:
        """Remove a vector; return whether it was there."""
        with self._lock:
            found = self._find(scope)
            within = found[0].find(found[1], name) if found is not None else -1
            if found is None or within < 0:
                return False
            shelf, place = found
            block, first = shelf.at(place)
            last = shelf.used[place] - 1
            block.copy(first + within, block, first + last, 1)
            block.expires[first + last] = _UNUSED_MS
            start = place * shelf.size
            shelf.names[start + within] = shelf.names[start + last]
            shelf.names[start + last] = b""
            shelf.used[place] = last
            self._size -= 1
            self._fit(scope, shelf, place, last)
            return True

    def remove(self, scope: bytes) -> None:
        """Remove a scope with all its vectors."""
        with self._lock:
            found = self._find(scope)
            if found is not None:
                self._size -= found[0].used[found[1]]
                self._give_back(scope, *found)

    def expired(self, now_ms: int) -> list[tuple[bytes, bytes]]:
        """Return scope and name of the vectors whose time is over, to be dropped. Only for the writing thread."""
        if now_ms < self._earliest_end_ms:
            return []
        self._earliest_end_ms = _NEVER_MS
        over: list[tuple[bytes, bytes]] = []
        for shelf in self._shelves:
            row = 0
            for block in shelf.blocks:
                ends = block.expires
                due = row + np.flatnonzero((ends <= now_ms) & (ends != _UNUSED_MS))
                row += len(ends)
                over += [(shelf.scopes[at // shelf.size], shelf.names[at]) for at in due.tolist()]
                self._earliest_end_ms = int(np.min(ends, where=ends > now_ms, initial=self._earliest_end_ms))
        return over

    def _find(self, scope: bytes) -> tuple[_Shelf, int] | None:
        where = self._where.get(scope)
        return None if where is None else (self._shelves[where % _SHELVES], where // _SHELVES)

    def _new(self, scope: bytes, number: int) -> tuple[_Shelf, int]:
        shelf = self._shelves[number]
        place = shelf.add(scope)
        self._where[scope] = place * _SHELVES + number
        return shelf, place

    def _fit(self, scope: bytes, shelf: _Shelf, place: int, used: int) -> None:
        """Move a scope that has shrunk to a smaller place, but not at once, as it may grow again."""
        if not used:
            self._give_back(scope, shelf, place)
            return
        number = shelf.number
        enough = SIZES[number - 1] if shelf.size <= _TIGHT_ROWS else SIZES[number - 2]
        if number and used <= enough:
            self._move(scope, shelf, place, bisect_left(SIZES, used))

    def _move(self, scope: bytes, shelf: _Shelf, place: int, number: int) -> tuple[_Shelf, int]:
        used = shelf.used[place]
        larger, there = self._new(scope, number)
        target, start = larger.at(there)
        block, first = shelf.at(place)
        target.copy(start, block, first, used)
        names = shelf.names[place * shelf.size : place * shelf.size + used]
        larger.names[there * larger.size : there * larger.size + used] = names
        larger.used[there] = used
        self._vacate(shelf, place)
        return larger, there

    def _give_back(self, scope: bytes, shelf: _Shelf, place: int) -> None:
        del self._where[scope]
        self._vacate(shelf, place)

    def _vacate(self, shelf: _Shelf, place: int) -> None:
        moved = shelf.remove(place)
        if moved is not None:
            self._where[moved] = place * _SHELVES + shelf.number
