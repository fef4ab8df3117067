from __future__ import annotations

import hashlib

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.vectors import unit_rows
from nearhit.embedding.fingerprint import (
    PROBE_TEXT,
    ProbeRecord,
    decode_probe,
    encode_probe,
    fingerprint_of,
    same_embedder,
)
from nearhit.errors import ContractError
from nearhit.testing import HashEmbedder

PROBE = HashEmbedder(32).embed([PROBE_TEXT], 1.0).vectors[0]


def test_the_id_is_the_beginning_of_a_sha256_over_model_dimension_and_probe() -> None:
    fingerprint = fingerprint_of("hash/32", PROBE)
    expected = hashlib.sha256(b"7:hash/32:32:" + PROBE.astype("<f4").tobytes()).hexdigest()
    assert (fingerprint.digest, fingerprint.id) == (expected, expected[:12])


def test_another_model_dimension_or_probe_has_another_id() -> None:
    other = HashEmbedder(32).embed(["another text"], 1.0).vectors[0]
    longer = HashEmbedder(64).embed([PROBE_TEXT], 1.0).vectors[0]
    probes = [("hash/32", PROBE), ("hash/3", PROBE), ("hash/32", other), ("hash/32", longer)]
    assert len({fingerprint_of(model, probe).id for model, probe in probes}) == 4


def test_jitter_in_the_last_digits_is_the_same_embedder() -> None:
    jitter = unit_rows((PROBE + np.random.default_rng(1).normal(0, 1e-3, 32))[None, :])[0]
    assert fingerprint_of("m", jitter).id != fingerprint_of("m", PROBE).id
    assert same_embedder(PROBE, jitter)


def test_another_vector_or_dimension_is_another_embedder() -> None:
    assert not same_embedder(PROBE, HashEmbedder(32).embed(["another text"], 1.0).vectors[0])
    assert not same_embedder(PROBE, HashEmbedder(64).embed([PROBE_TEXT], 1.0).vectors[0])


@given(model=st.text(min_size=1).filter(lambda text: text.isprintable()), dimension=st.integers(2, 40))
def test_a_record_comes_back_with_the_same_fingerprint(model: str, dimension: int) -> None:
    probe = HashEmbedder(dimension).embed([PROBE_TEXT], 1.0).vectors[0]
    record = decode_probe(encode_probe(ProbeRecord(model, dimension, probe)))
    assert (record.model, record.dimension) == (model, dimension)
    assert record.fingerprint == fingerprint_of(model, probe)


def packed(**changes: object) -> bytes:
    fields = {"v": 1, "model": "m", "dimension": 32, "probe": PROBE.tobytes()} | changes
    blob: bytes = msgpack.packb({key: value for key, value in fields.items() if value is not None})
    return blob


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (msgpack.packb([1]), "lacks model"),
        (packed(model=None), "lacks model"),
        (packed(model=""), "lacks model"),
        (packed(v=2), "version 2, this Nearhit reads 1"),
        (packed(dimension="32"), "lacks model, dimension"),
        (packed(dimension=31), "32 dimensions, expected 31"),
        (packed(probe=b"abc"), "3 bytes"),
        (packed(probe=bytes(128)), "all zeros"),
        (packed(probe=np.full(32, np.nan, "<f4").tobytes()), "NaN"),
        (packed(probe=(PROBE * 2).tobytes()), "not of unit length"),
    ],
)
def test_a_damaged_record_is_a_named_error(blob: bytes, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        decode_probe(blob)


@given(blob=st.binary(max_size=80))
def test_garbage_raises_a_contract_error_and_nothing_else(blob: bytes) -> None:
    with pytest.raises(ContractError):
        decode_probe(blob)
