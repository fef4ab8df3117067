"""Onnx model: the forward pass of all-MiniLM-L6-v2 on onnxruntime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

GRAPH_PATH = Path(__file__).with_name("graph.onnx")


class OnnxModel:
    """The graph of the package over the weights of a model folder.

    One session, shared by threads (onnxruntime allows concurrent runs). One thread a call: a short prompt
    gains nothing from more, and a web server has threads enough. A session does not survive a fork; the
    embedder makes a new one.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        # its import alone writes a device id into the home directory otherwise (1.32)
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime  # noqa: PLC0415 - an optional dependency, 0.2 s

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # given as values: file paths in the graph would break where the model folder is a symbolic link
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(weight) for weight in weights.values()]
        options.add_external_initializers(list(weights), values)
        self._weights = weights  # the values borrow this memory
        self._session = onnxruntime.InferenceSession(
            GRAPH_PATH.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def pooled(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the mean token vector of every text, ``(n, 384) float32``, not of unit length."""
        rows: NDArray[np.float32] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return rows
