"""Safetensors: maps the float32 weights of a ``.safetensors`` file into memory.

The format, as its authors describe it: eight bytes of header length, little endian; a JSON header that gives
dtype, shape and byte range of every tensor; the data. Reading it here saves a dependency and a copy.
"""

from __future__ import annotations

import json
import math
import mmap
from typing import TYPE_CHECKING

import numpy as np

from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # the limit of the format itself


def map_weights(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """Return the named tensors as read-only float32 views on the mapped file, without a copy.

    Raises:
        ConfigError: the file cannot be read, is no safetensors file, or lacks such a tensor in float32.
    """
    try:
        with path.open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise ConfigError(f"model weights {path} cannot be read: {error}") from error
    length = int.from_bytes(view[:_LENGTH_BYTES], "little")
    start = _LENGTH_BYTES + length
    if length > _MAX_HEADER_BYTES or start > len(view):
        raise ConfigError(
            f"model weights {path} are not a safetensors file, or cut short: a header of {length} bytes in {len(view)}"
        )
    try:
        header = json.loads(bytes(view[_LENGTH_BYTES:start]))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"model weights {path} are not a safetensors file: the header is not JSON") from error
    if not isinstance(header, dict):
        raise ConfigError(f"model weights {path} are not a safetensors file: the header is not an object")
    return {name: tensor(path, view[start:], header, name, shape) for name, shape in shapes.items()}


def tensor(
    path: Path, data: memoryview, header: dict[str, object], name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return one tensor as a view on the data; raises as ``map_weights`` does."""
    entry = header.get(name)
    if not isinstance(entry, dict):
        raise ConfigError(f"model weights {path} have no tensor {name!r}: another model?")
    if entry.get("dtype") != "F32" or entry.get("shape") != list(shape):
        found = f"{entry.get('dtype')} {entry.get('shape')}"
        raise ConfigError(f"model weights {path}: tensor {name!r} is {found}, expected F32 {list(shape)}")
    match entry.get("data_offsets"):
        case [int(first), int(last)] if 0 <= first <= last <= len(data) and last - first == 4 * math.prod(shape):
            return np.frombuffer(data[first:last], dtype="<f4").reshape(shape)
        case offsets:
            size = f"{len(data)} bytes of data"
            raise ConfigError(f"model weights {path}: tensor {name!r} lies at {offsets} in {size}: a damaged file")
