from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearhit.embedding.minilm.safetensors import map_weights
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

VALUES = np.arange(6, dtype="<f4")
ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def write(path: Path, header: object, data: bytes = VALUES.tobytes()) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_tensors_come_back_with_their_shape_and_values(tmp_path: Path) -> None:
    path = write(tmp_path / "w", {"__metadata__": {"format": "pt"}, "a": ENTRY})
    assert map_weights(path, {"a": (2, 3)})["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_mapped_tensors_cannot_be_written(tmp_path: Path) -> None:
    weights = map_weights(write(tmp_path / "w", {"a": ENTRY}), {"a": (2, 3)})
    with pytest.raises(ValueError, match="read-only"):
        weights["a"][0, 0] = 1


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({}, "no tensor 'a'"),
        ([], "not an object"),
        ({"a": 1}, "no tensor 'a'"),
        ({"a": {**ENTRY, "dtype": "F16"}}, "is F16"),
        ({"a": {**ENTRY, "shape": [3, 2]}}, r"F32 \[3, 2\], expected F32 \[2, 3\]"),
        ({"a": {**ENTRY, "data_offsets": [0, 20]}}, "damaged"),
        ({"a": {**ENTRY, "data_offsets": [8, 32]}}, "damaged"),
        ({"a": {**ENTRY, "data_offsets": [-24, 0]}}, "damaged"),
        ({"a": {**ENTRY, "data_offsets": "all"}}, "damaged"),
        ({"a": {**ENTRY, "data_offsets": [0.0, 24.0]}}, "damaged"),
    ],
)
def test_a_header_that_does_not_hold_the_tensor_is_a_named_error(tmp_path: Path, header: object, reason: str) -> None:
    path = write(tmp_path / "w", header)
    with pytest.raises(ConfigError, match=reason) as caught:
        map_weights(path, {"a": (2, 3)})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"\xff" * 100, (9**9).to_bytes(8, "little"), (4).to_bytes(8, "little") + b"{{{{"],
    ids=["empty", "short", "ones", "cut", "no-json"],
)
def test_a_file_of_another_kind_is_a_named_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="model weights"):
        map_weights(path, {"a": (2, 3)})


def test_a_missing_file_is_a_named_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        map_weights(tmp_path / "nothing", {"a": (2, 3)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(content=st.binary(max_size=64), framed=st.booleans())
def test_garbage_never_raises_anything_else(tmp_path: Path, content: bytes, framed: bool) -> None:
    path = tmp_path / "w"
    path.write_bytes(len(content).to_bytes(8, "little") + content if framed else content)
    with pytest.raises(ConfigError):
        map_weights(path, {"a": (2, 3)})
