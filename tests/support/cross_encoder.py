"""Cross-encoder: a real but tiny one, made by the test that runs it: pairs with the same words score high."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("how", "do", "i", "reset", "my", "password", "delete", "account", "the", "what", "is", "please")
SILENT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "please")
"""Tokens whose embedding is zero: with or without them, a text is the same to this model."""


def write(folder: Path, outputs: int = 1, kinds: bool = True) -> Path:
    """Write ``model.onnx`` and ``tokenizer.json`` and return the folder.

    Args:
        folder: where.
        outputs: numbers that the model gives a pair: 1, or 2 (different, same), or more, which no cross-encoder gives.
        kinds: the model takes ``token_type_ids``; without them it cannot tell the texts apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = list(dict.fromkeys((*SILENT[:4], *WORDS)))
    _tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
    (folder / "model.onnx").write_bytes(_model(vocabulary, outputs, kinds).SerializeToString())
    return folder


def _tokenizer(vocabulary: list[str]) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    numbers = {word: at for at, word in enumerate(vocabulary)}
    made = Tokenizer(WordLevel(numbers, unk_token="[UNK]"))
    made.normalizer = Lowercase()
    made.pre_tokenizer = Whitespace()
    special = [(name, numbers[name]) for name in ("[CLS]", "[SEP]")]
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    made.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=special)
    return made


def _model(vocabulary: list[str], outputs: int, kinds: bool) -> Any:
    """Return a graph whose score is 4 minus twice the squared distance of the two bags of words."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.eye(len(vocabulary), dtype=np.float32)
    table[[vocabulary.index(name) for name in SILENT]] = 0.0
    spread = np.array([[(-1.0) ** (outputs - 1 - at) for at in range(outputs)]], dtype=np.float32) / outputs
    values = {
        "table": table,
        "spread": spread,
        "two": np.float32(2.0),
        "four": np.float32(4.0),
        "one": np.int64(1),
        "twice": np.int64(2),
        "tokens": np.array([1], dtype=np.int64),
        "last": np.array([2], dtype=np.int64),
    }
    side = [("Mul", ["token_type_ids", "twice"], "doubled"), ("Sub", ["one", "doubled"], "side")] if kinds else []
    nodes = [
        *side,
        ("Mul", ["attention_mask", "side" if kinds else "one"], "signs"),
        ("Cast", ["signs"], "signed"),
        ("Unsqueeze", ["signed", "last"], "weights"),
        ("Gather", ["table", "input_ids"], "words"),
        ("Mul", ["words", "weights"], "weighted"),
        ("ReduceSum", ["weighted", "tokens"], "apart"),
        ("Squeeze", ["apart", "tokens"], "rows"),
        ("Mul", ["rows", "rows"], "squares"),
        ("ReduceSum", ["squares", "tokens"], "distance"),
        ("Mul", ["distance", "two"], "far"),
        ("Sub", ["four", "far"], "score"),
        ("MatMul", ["score", "spread"], "logits"),
    ]
    made = [helper.make_node(kind, given, [name]) for kind, given, name in nodes]
    cast = next(node for node in made if node.op_type == "Cast")
    cast.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if kinds else [])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"]) for name in names]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", outputs])
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(made, "pairs", inputs, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
