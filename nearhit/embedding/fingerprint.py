"""Fingerprint: which embedder made a vector, so that the vectors of two never mix.

A fingerprint is taken once from the vector that the embedder gives for ``PROBE_TEXT`` and is then recorded:
hosted providers jitter in the last digits, so a later process does not compute it again, it compares its own
probe vector with the recorded ones (``same_embedder``) and takes over the id of the one that fits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec import msgpack

from nearhit.domain.vectors import from_bytes, to_bytes, unit_rows
from nearhit.errors import ContractError, VectorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBE_TEXT = "How do I change the billing address on my account, and from when does it apply?"
"""What every embedder is asked for its fingerprint; another text would rebuild every index."""
SAME_SIMILARITY = 0.999
"""Two probes at least this near come from one embedder; other models and other dimensions are far below."""
_VERSION = 1
_ID_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identity of an embedder.

    Attributes:
        model: the model string, for example ``local/minilm``.
        dimension: length of its vectors.
        digest: SHA-256 over model, dimension and probe vector, 64 hex digits.
    """

    model: str
    dimension: int
    digest: str

    @property
    def id(self) -> str:
        """The first 12 hex digits of the digest: short enough for an index name and every entry."""
        return self.digest[:_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class ProbeRecord:
    """What is kept on the server of an embedder that has been seen.

    Attributes:
        model: the model string.
        dimension: length of its vectors.
        probe: its vector for ``PROBE_TEXT``, ``(dimension,) float32, unit``.
    """

    model: str
    dimension: int
    probe: NDArray[np.float32]

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of this record; the same in every process."""
        return fingerprint_of(self.model, self.probe)


def fingerprint_of(model: str, probe_vector: NDArray[np.float32]) -> Fingerprint:
    """Return the fingerprint of the embedder ``model`` that gave ``probe_vector`` for ``PROBE_TEXT``."""
    dimension = int(probe_vector.shape[0])
    name = model.encode()
    digest = hashlib.sha256(b"%d:%b:%d:" % (len(name), name, dimension) + to_bytes(probe_vector))
    return Fingerprint(model=model, dimension=dimension, digest=digest.hexdigest())


def same_embedder(probe_a: NDArray[np.float32], probe_b: NDArray[np.float32]) -> bool:
    """Return whether two unit vectors of ``PROBE_TEXT`` come from one embedder."""
    if probe_a.shape != probe_b.shape:
        return False
    return bool(np.dot(probe_a, probe_b) >= SAME_SIMILARITY)


def encode_probe(record: ProbeRecord) -> bytes:
    """Return ``record`` as msgpack, for the registry on the server."""
    fields = {"v": _VERSION, "model": record.model, "dimension": record.dimension, "probe": to_bytes(record.probe)}
    return msgpack.encode(fields)


def decode_probe(blob: bytes) -> ProbeRecord:
    """Return the record that ``blob`` holds.

    The probe is taken as it was written, bit for bit: the fingerprint is computed from it.

    Raises:
        ContractError: it is no such record, of a newer version, or its probe is no unit vector.
    """
    try:
        fields = msgpack.decode(blob)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"a probe record of {len(blob)} bytes is not msgpack: {error}") from error
    match fields:
        case {"v": int(version)} if version != _VERSION:
            raise ContractError(f"a probe record has version {version}, this Nearhit reads {_VERSION}")
        case {"v": _, "model": str(model), "dimension": int(dimension), "probe": bytes(packed)} if model:
            try:
                probe = from_bytes(packed, dimension)
                if not np.allclose(probe, unit_rows(probe[None, :])[0], atol=1e-3):
                    raise VectorError("its vector is not of unit length")  # noqa: TRY301 - damaged like the others
            except VectorError as error:
                raise ContractError(f"the probe record of model {model!r} is damaged: {error}") from error
            return ProbeRecord(model, dimension, probe)
        case _:
            raise ContractError(f"a probe record of {len(blob)} bytes lacks model, dimension or probe")
