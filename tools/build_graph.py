"""Graph builder: writes ``graph.onnx``, the forward pass of all-MiniLM-L6-v2 without its weights.

``python -m tools.build_graph``, with the package onnx. The weights carry the names of ``model.safetensors`` and are
handed to onnxruntime at load time, so that the package carries kilobytes instead of 90 MB and the file is mapped.
"""

from __future__ import annotations

import importlib
from typing import Any

from nearhit.embedding.minilm.architecture import HEADS, HIDDEN, LAYER_NORM_EPSILON, LAYERS, weight_shapes
from nearhit.embedding.minilm.onnx_model import GRAPH_PATH

_OPSET = 20  # the first with Gelu; onnxruntime reads it since 1.17
_IR_VERSION = 9  # belongs to opset 20; a newer one shuts older runtimes out


class _Graph:
    """Nodes in the order in which they run; every node is named after its one output."""

    def __init__(self) -> None:
        self.onnx: Any = importlib.import_module("onnx")
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def integers(self, name: str, values: list[int]) -> str:
        self.initializers.append(self.onnx.helper.make_tensor(name, self.onnx.TensorProto.INT64, [len(values)], values))
        return name

    def number(self, name: str, value: float) -> str:
        self.initializers.append(self.onnx.helper.make_tensor(name, self.onnx.TensorProto.FLOAT, [], [value]))
        return name

    def add(self, output: str, operator: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def linear(self, output: str, rows: str, weight: str) -> str:
        """Add ``rows @ weight.T + bias``; Gemm takes the weight as it lies in the file, untransposed."""
        return self.add(output, "Gemm", [rows, f"{weight}.weight", f"{weight}.bias"], transB=1)

    def norm(self, output: str, rows: str, weight: str) -> str:
        inputs = [rows, f"{weight}.weight", f"{weight}.bias"]
        return self.add(output, "LayerNormalization", inputs, axis=-1, epsilon=LAYER_NORM_EPSILON)


def build_graph() -> Any:
    """Return the model: ``input_ids, attention_mask (n, length) int64`` to ``pooled (n, hidden) float32``."""
    graph = _Graph()
    graph.add("batch", "Shape", ["input_ids"])
    graph.integers("row_shape", [-1, HIDDEN])
    graph.add("head_shape", "Concat", ["batch", graph.integers("heads", [HEADS, HIDDEN // HEADS])], axis=0)
    graph.number("scale", (HIDDEN // HEADS) ** -0.5)
    rows = _add_embeddings(graph)
    bias = _add_attention_bias(graph)
    for layer in range(LAYERS):
        rows = _add_layer(graph, layer, rows, bias)
    _add_pooling(graph, rows)
    return _as_model(graph)


def _add_embeddings(graph: _Graph) -> str:
    zero, one = graph.integers("zero", [0]), graph.integers("one", [1])
    words = graph.add("words", "Gather", ["embeddings.word_embeddings.weight", "input_ids"])
    length = graph.add("length", "Shape", ["input_ids"], start=1, end=2)
    places = graph.add("places", "Slice", ["embeddings.position_embeddings.weight", zero, length, zero])
    kind = graph.add("kind", "Slice", ["embeddings.token_type_embeddings.weight", zero, one, zero])
    total = graph.add("embedded", "Add", [words, graph.add("placed", "Add", [places, kind])])
    normed = graph.norm("embedded.normed", total, "embeddings.LayerNorm")
    return graph.add("embedded.rows", "Reshape", [normed, "row_shape"])


def _add_attention_bias(graph: _Graph) -> str:
    """Add what every attention weight gets on top: 0 for a token, a very low number for padding."""
    graph.add("mask", "Cast", ["attention_mask"], to=graph.onnx.TensorProto.FLOAT)
    by_head = graph.add("mask.by_head", "Unsqueeze", ["mask", graph.integers("head_axes", [1, 2])])
    padding = graph.add("padding", "Sub", [graph.number("kept", 1.0), by_head])
    return graph.add("attention.bias", "Mul", [padding, graph.number("very_low", -1e9)])


def _add_layer(graph: _Graph, layer: int, rows: str, bias: str) -> str:
    weights, here = f"encoder.layer.{layer}", f"layer{layer}"
    context = _add_attention(graph, layer, rows, bias)
    attended = graph.linear(f"{here}.attended", context, f"{weights}.attention.output.dense")
    summed = graph.add(f"{here}.attended.sum", "Add", [attended, rows])
    middle = graph.norm(f"{here}.middle", summed, f"{weights}.attention.output.LayerNorm")
    wide = graph.linear(f"{here}.wide", middle, f"{weights}.intermediate.dense")
    active = graph.add(f"{here}.active", "Gelu", [wide], approximate="none")
    narrow = graph.linear(f"{here}.narrow", active, f"{weights}.output.dense")
    total = graph.add(f"{here}.sum", "Add", [narrow, middle])
    return graph.norm(f"{here}.out", total, f"{weights}.output.LayerNorm")


def _add_attention(graph: _Graph, layer: int, rows: str, bias: str) -> str:
    here = f"layer{layer}.attention"
    query = _add_heads(graph, layer, rows, "query", [0, 2, 1, 3])
    key = _add_heads(graph, layer, rows, "key", [0, 2, 3, 1])
    value = _add_heads(graph, layer, rows, "value", [0, 2, 1, 3])
    products = graph.add(f"{here}.products", "MatMul", [query, key])
    scaled = graph.add(f"{here}.scaled", "Mul", [products, "scale"])
    masked = graph.add(f"{here}.masked", "Add", [scaled, bias])
    shares = graph.add(f"{here}.shares", "Softmax", [masked], axis=-1)
    mixed = graph.add(f"{here}.mixed", "MatMul", [shares, value])
    together = graph.add(f"{here}.together", "Transpose", [mixed], perm=[0, 2, 1, 3])
    return graph.add(f"{here}.context", "Reshape", [together, "row_shape"])


def _add_heads(graph: _Graph, layer: int, rows: str, part: str, order: list[int]) -> str:
    here = f"layer{layer}.{part}"
    projected = graph.linear(here, rows, f"encoder.layer.{layer}.attention.self.{part}")
    split = graph.add(f"{here}.split", "Reshape", [projected, "head_shape"])
    return graph.add(f"{here}.heads", "Transpose", [split], perm=order)


def _add_pooling(graph: _Graph, rows: str) -> None:
    """Add the mean over the tokens of each text, padding left out."""
    by_text = graph.add("text_shape", "Concat", ["batch", graph.integers("rest", [-1])], axis=0)
    tokens = graph.add("tokens", "Reshape", [rows, by_text])
    axis = graph.integers("token_axis", [1])
    sums = graph.add("sums.row", "MatMul", [graph.add("mask.row", "Unsqueeze", ["mask", axis]), tokens])
    counts = graph.add("counts", "ReduceSum", ["mask", axis], keepdims=1)
    graph.add("pooled", "Div", [graph.add("sums", "Squeeze", [sums, axis]), counts])


def _as_model(graph: _Graph) -> Any:
    helper, types = graph.onnx.helper, graph.onnx.TensorProto
    inputs = [helper.make_tensor_value_info(n, types.INT64, ["n", "length"]) for n in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("pooled", types.FLOAT, ["n", HIDDEN])
    weights = [_external_tensor(graph.onnx, name, shape) for name, shape in weight_shapes().items()]
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, [output], graph.initializers + weights)
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(body, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="nearhit")


def _external_tensor(onnx: Any, name: str, shape: tuple[int, ...]) -> Any:
    """Return a tensor that only says its shape; the data is given with ``add_external_initializers``."""
    tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT, dims=shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    place = tensor.external_data.add()
    place.key, place.value = "location", "model.safetensors"
    return tensor


def main() -> None:
    """Write ``graph.onnx`` where the model reads it."""
    GRAPH_PATH.write_bytes(build_graph().SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
