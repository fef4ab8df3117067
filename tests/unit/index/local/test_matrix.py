from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearhit.domain.vectors import unit_rows
from nearhit.index.local import rows as rows_module
from nearhit.index.local.codes import BITS, Codes
from nearhit.index.local.matrix import Matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DIMENSION = 24
CODES = Codes(DIMENSION)
POOL = unit_rows(np.random.default_rng(7).standard_normal((40, DIMENSION)))
QUANTISED = 2e-5  # what the 16-bit rows may change in a similarity

NAMES = [b"a", b"b", b"c", b"d", b"e"]
SCOPES = [b"one", b"two", b"three"]
steps = st.one_of(
    st.tuples(
        st.just("put"),
        st.sampled_from(SCOPES),
        st.sampled_from(NAMES),
        st.integers(0, len(POOL) - 1),
        st.integers(1, 9),
    ),
    st.tuples(st.just("drop"), st.sampled_from(SCOPES), st.sampled_from(NAMES), st.just(0), st.just(0)),
    st.tuples(st.just("expire"), st.just(b""), st.just(b""), st.just(0), st.integers(1, 9)),
)

Truth = dict[tuple[bytes, bytes], tuple[int, int]]


def brute_force(truth: Truth, scope: bytes, query: NDArray[np.float32], now: int) -> dict[bytes, float]:
    return {
        name: float(POOL[number].astype(np.float64) @ query)
        for (row_scope, name), (number, expires) in truth.items()
        if row_scope == scope and expires > now
    }


@settings(deadline=None, max_examples=150)
@given(st.lists(steps, max_size=40), st.integers(0, len(POOL) - 1), st.integers(0, 9), st.integers(1, 6))
def test_any_sequence_of_writes_leaves_what_brute_force_finds(
    sequence: list[tuple[str, bytes, bytes, int, int]], query_number: int, now: int, k: int
) -> None:
    matrix, truth = Matrix(CODES), Truth()
    for action, scope, name, number, when in sequence:
        if action == "put":
            matrix.put([(scope, name, when)], POOL[number][None])
            truth[scope, name] = (number, when)
        elif action == "drop":
            matrix.drop(scope, name)
            truth.pop((scope, name), None)
        else:
            matrix.drop_expired(when)
            truth = {place: row for place, row in truth.items() if row[1] > when}
    assert len(matrix) == len(truth)
    query = POOL[query_number]
    for scope in SCOPES:
        expected = brute_force(truth, scope, query, now)
        found = matrix.nearest(scope, query, k, now)
        assert [near for _, near in found] == pytest.approx(sorted(expected.values(), reverse=True)[:k], abs=QUANTISED)
        assert all(near == pytest.approx(expected[name], abs=QUANTISED) for name, near in found)
        assert len({name for name, _ in found}) == len(found)


def filled(vectors: NDArray[np.float32], codes: Codes, *, exact_above: float = 0.5) -> Matrix:
    matrix = Matrix(codes, exact_above=exact_above)
    for start in range(0, len(vectors), 1000):
        part = vectors[start : start + 1000]
        matrix.put([(b"s", b"%d" % (start + index), 10) for index in range(len(part))], part)
    return matrix


@pytest.mark.parametrize(("dimension", "count"), [(384, 2000), (32, 9000), (1000, 1200)])
def test_rows_above_the_similarity_are_never_left_out(dimension: int, count: int) -> None:
    generator = np.random.default_rng(dimension)
    centres = unit_rows(generator.standard_normal((count // 20, dimension)))
    noise = 0.8 * unit_rows(generator.standard_normal((count, dimension)))
    vectors = unit_rows(centres[generator.integers(0, len(centres), count)] + noise)
    matrix = filled(vectors, Codes(dimension))
    for query in unit_rows(vectors[:60] + 0.3 * unit_rows(generator.standard_normal((60, dimension)))):
        expected = np.sort(vectors @ query)[::-1][:4]
        found = np.array([near for _, near in matrix.nearest(b"s", query, 4, 0)])
        sure = expected >= 0.5
        assert sure[0]
        assert found[sure] == pytest.approx(expected[sure], abs=QUANTISED)


def test_strangers_are_searched_exactly_when_that_is_asked_for() -> None:
    vectors = unit_rows(np.random.default_rng(3).standard_normal((5000, 64)))
    queries = unit_rows(np.random.default_rng(4).standard_normal((30, 64)))
    matrix = filled(vectors, Codes(64), exact_above=-1.0)
    for query in queries:
        found = [near for _, near in matrix.nearest(b"s", query, 4, 0)]
        assert found == pytest.approx(np.sort(vectors @ query)[::-1][:4].tolist(), abs=QUANTISED)


def test_equal_rows_are_all_found() -> None:
    vectors = np.repeat(POOL[:1], 3000, axis=0)
    found = filled(vectors, CODES).nearest(b"s", POOL[0], 4, 0)
    assert [near for _, near in found] == pytest.approx([1.0] * 4, abs=QUANTISED)


def test_expired_rows_do_not_hide_live_ones() -> None:
    matrix = Matrix(CODES)
    matrix.put([(b"s", b"old%d" % index, 5) for index in range(2000)], np.repeat(POOL[:1], 2000, axis=0))
    matrix.put([(b"s", b"live", 50)], unit_rows(POOL[:1] + 0.1 * POOL[1:2]))
    assert [name for name, _ in matrix.nearest(b"s", POOL[0], 4, 10)] == [b"live"]


def test_memory_follows_what_is_held_across_blocks() -> None:
    count = rows_module.BLOCK_ROWS * 2 + 5
    vectors = unit_rows(np.random.default_rng(5).standard_normal((count, DIMENSION)))
    matrix = filled(vectors, CODES)
    full = matrix.nbytes
    for number in range(count - rows_module.BLOCK_ROWS):
        matrix.drop(b"s", b"%d" % number)
    assert matrix.nbytes * 3 == full
    last = count - 1
    assert matrix.nearest(b"s", vectors[last], 1, 0)[0][0] == b"%d" % last
    for number in range(count):
        matrix.drop(b"s", b"%d" % number)
    assert (len(matrix), matrix.nbytes) == (0, 0)


def test_a_similarity_keeps_its_limit_of_differing_bits() -> None:
    generator = np.random.default_rng(6)
    codes = Codes(384)
    for similarity in (0.2, 0.5, 0.8, 0.99):
        base = unit_rows(generator.standard_normal((3000, 384)))
        noise = generator.standard_normal((3000, 384))
        other = unit_rows(noise - np.einsum("ij,ij->i", noise, base)[:, None] * base)
        near = unit_rows(similarity * base + np.sqrt(1 - similarity**2) * other)
        apart = np.bitwise_count(codes.bits(base) ^ codes.bits(near)).sum(axis=1, dtype=np.int64)
        assert apart.max() <= codes.limit(similarity)
        assert apart.mean() == pytest.approx(BITS * np.arccos(similarity) / np.pi, abs=1.5)


class InterruptedCodes(Codes):
    """Codes that let something happen once, in the middle of a search."""

    def __init__(self) -> None:
        super().__init__(DIMENSION)
        self.interruption: Callable[[], None] | None = None

    @property
    def waits(self) -> bool:
        return self.interruption is not None

    def limit(self, similarity: float) -> int:
        interruption, self.interruption = self.interruption, None
        if interruption is not None:
            interruption()
        return super().limit(similarity)


@pytest.mark.parametrize(("sought", "found"), [(0, None), (1999, b"1999"), (7, b"7")])
def test_a_search_during_which_rows_move_finds_them_where_they_are(sought: int, found: bytes | None) -> None:
    vectors = unit_rows(np.random.default_rng(8).standard_normal((2000, DIMENSION)))
    codes = InterruptedCodes()
    matrix = filled(vectors, codes)
    codes.interruption = lambda: matrix.drop(b"s", b"0")  # the last row, 1999, takes its place
    (name, near), *_ = matrix.nearest(b"s", vectors[sought], 4, 0)
    assert not codes.waits
    assert near == pytest.approx(float(vectors[int(name)] @ vectors[sought]), abs=QUANTISED)
    assert name != b"0"
    assert found in (None, name)


def test_readers_meet_no_torn_or_lost_row_while_rows_move() -> None:
    generator = np.random.default_rng(8)
    vectors = unit_rows(generator.standard_normal((3000, DIMENSION)))
    matrix = filled(vectors, CODES)
    stopped, lost = threading.Event(), []

    def search() -> None:
        number = 0
        while not stopped.is_set():
            number = (number + 2) % len(vectors)  # the even ones stay; the odd ones come and go
            name, near = matrix.nearest(b"s", vectors[number], 1, 0)[0]
            if name != b"%d" % number or abs(near - 1.0) > QUANTISED:
                lost.append((number, name, near))

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for first in range(1, len(vectors), 200):
        numbers = range(first, first + 200, 2)
        for number in numbers:  # every hole takes the last row, which is mostly one that stays
            matrix.drop(b"s", b"%d" % number)
        matrix.put([(b"s", b"%d" % number, 10) for number in numbers], vectors[numbers])
    stopped.set()
    for reader in readers:
        reader.join(5)
    assert lost == []
