from __future__ import annotations

import pytest

from nearhit.embedding.minilm.onnx_model import GRAPH_PATH
from tools.build_graph import build_graph

onnx = pytest.importorskip("onnx", reason="the builder of graph.onnx needs the package onnx")


def test_the_shipped_graph_is_what_the_builder_makes() -> None:
    assert onnx.load(GRAPH_PATH, load_external_data=False) == build_graph()


def test_the_shipped_graph_holds_no_weights() -> None:
    assert GRAPH_PATH.stat().st_size < 40_000


def test_the_graph_keeps_to_operators_of_the_standard() -> None:
    assert {node.domain for node in build_graph().graph.node} == {""}
