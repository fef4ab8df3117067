"""Small scopes share arrays: what is put in is found, at every size, and an entry takes the same in all of them."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearhit.domain.vectors import to_bytes, unit_rows
from nearhit.index.local.codes import Codes
from nearhit.index.local.matrix import Matrix
from nearhit.index.local.replica import Replica
from nearhit.index.local.small_scopes import MOST_ROWS, SIZES

DIMENSION = 8
CODES = Codes(DIMENSION)
POOL = unit_rows(np.random.default_rng(3).standard_normal((1500, DIMENSION)))
KILOBYTE = 1024
SCOPES = [b"a", b"b", b"c"]
ENTRIES = 20_000

steps = st.tuples(st.sampled_from(SCOPES), st.integers(0, 700), st.integers(0, 60))


def put(matrix: Matrix, scope: bytes, numbers: range, end_ms: int = 10) -> None:
    if numbers:
        matrix.put([(scope, b"%d" % number, end_ms) for number in numbers], POOL[numbers.start : numbers.stop])


def names(matrix: Matrix, scope: bytes, now_ms: int = 0) -> set[bytes]:
    return {name for name, _ in matrix.nearest(scope, POOL[0], 2000, now_ms)}


def test_the_sizes_of_places_waste_at_most_a_fifth() -> None:
    assert list(SIZES) == sorted(set(SIZES))
    assert SIZES[0] == 1
    for wanted in range(1, MOST_ROWS + 1):
        size = next(one for one in SIZES if one >= wanted)
        assert size <= max(wanted, 1.25 * (wanted - 1))


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, max_size=25), st.integers(0, 2))
def test_scopes_that_grow_and_shrink_hold_what_they_were_given(sequence: list[tuple[bytes, int, int]], at: int) -> None:
    """Each step makes a scope as large as it says, from the front or the back, across all places and back again."""
    matrix = Matrix(Codes(DIMENSION), exact_above=-1.0)
    held: dict[bytes, range] = {scope: range(0) for scope in SCOPES}
    for scope, size, skipped in sequence:
        before, after = held[scope], range(skipped, skipped + size)
        for number in [number for number in before if number not in after]:
            matrix.drop(scope, b"%d" % number)
        put(matrix, scope, after)
        held[scope] = after
    assert len(matrix) == sum(map(len, held.values()))
    for scope, numbers in held.items():
        assert names(matrix, scope) == {b"%d" % number for number in numbers}
        assert all((scope, b"%d" % number) in matrix for number in numbers)
        assert (scope, b"%d" % 1400) not in matrix
        for number in list(numbers)[at::97]:
            name, near = matrix.nearest(scope, POOL[number], 1, 0)[0]
            assert name == b"%d" % number
            assert near == pytest.approx(1.0, abs=1e-4)


def test_entries_of_all_sizes_of_scopes_end_in_time() -> None:
    matrix = Matrix(CODES)
    for count in (1, 3, 9, 60, 512, 513, 900):
        put(matrix, b"%d" % count, range(count), end_ms=50)
        put(matrix, b"%d" % count, range(count, count + 2), end_ms=70)
    assert names(matrix, b"60", 50) == {b"60", b"61"}
    matrix.drop_expired(49)
    assert len(matrix) == 1998 + 14
    matrix.drop_expired(50)
    assert len(matrix) == 14
    assert all(names(matrix, b"%d" % count) == {b"%d" % count, b"%d" % (count + 1)} for count in (1, 3, 9, 60, 512))
    matrix.drop_expired(70)
    assert (len(matrix), matrix.nbytes) == (0, 0)


def test_a_replaced_vector_is_found_where_it_is_now() -> None:
    matrix = Matrix(CODES)
    for count in (1, 40, 600):
        scope = b"%d" % count
        put(matrix, scope, range(count))
        matrix.put([(scope, b"0", 10)], POOL[1000:1001])
        assert len(names(matrix, scope)) == count
        name, near = matrix.nearest(scope, POOL[1000], 1, 0)[0]
        assert name == b"0"
        assert near == pytest.approx(1.0, abs=1e-4)


def test_a_scope_is_found_while_it_grows_out_of_the_shared_arrays_and_back() -> None:
    matrix = Matrix(CODES, exact_above=-1.0)
    put(matrix, b"s", range(200))
    put(matrix, b"other", range(3))
    stopped, lost = threading.Event(), []

    def search() -> None:
        number = 0
        while not stopped.is_set():
            number = (number + 1) % 200  # these stay; the others come and go
            found = matrix.nearest(b"s", POOL[number], 1, 0)
            if not found or found[0][0] != b"%d" % number or abs(found[0][1] - 1.0) > 1e-4:
                lost.append((number, found))

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(6):
        put(matrix, b"s", range(200, 600))
        for number in range(200, 600):
            matrix.drop(b"s", b"%d" % number)
        put(matrix, b"other", range(3, 9))
        for number in range(3, 9):
            matrix.drop(b"other", b"%d" % number)
    stopped.set()
    for reader in readers:
        reader.join(10)
    assert lost == []
    assert len(matrix) == 203


@pytest.mark.parametrize("scopes", [ENTRIES, ENTRIES // 7, 1], ids=["one entry each", "seven each", "all in one"])
def test_an_entry_takes_what_the_documents_say_however_many_scopes_there_are(scopes: int) -> None:
    """1.1 KB at 384 dimensions, and a tenth more for what a growing dictionary has to spare."""
    replica = Replica(Codes(384), "nearhit:shop:0123456789ab:e:", 10 * ENTRIES)
    blob = to_bytes(unit_rows(np.random.default_rng(1).standard_normal((1, 384)))[0])
    tracemalloc.start()
    for start in range(0, ENTRIES, 1000):
        keys = [
            f"nearhit:shop:0123456789ab:e:{digest(number % scopes)}:{digest(-1 - number)}".encode()
            for number in range(start, start + 1000)
        ]
        replica.apply(keys, [[blob, b"9999999999999"]] * 1000)
    del keys
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(replica) == ENTRIES
    assert taken / ENTRIES < 1.1 * 1.1 * KILOBYTE


def digest(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
