"""Architecture: the numbers of all-MiniLM-L6-v2, and the names and shapes of the weights that it runs on."""

from __future__ import annotations

HIDDEN = 384
LAYERS = 6
HEADS = 12
INTERMEDIATE = 1536
POSITIONS = 512
TOKEN_TYPES = 2
VOCABULARY = 30522
LAYER_NORM_EPSILON = 1e-12
MAX_TOKENS = 256
"""Longer texts are cut, as the model's authors do; it was not trained on more."""

CONFIG = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INTERMEDIATE,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": TOKEN_TYPES,
    "vocab_size": VOCABULARY,
    "layer_norm_eps": LAYER_NORM_EPSILON,
    "hidden_act": "gelu",
}
"""What ``config.json`` of a model folder must say for the graph to be the right one."""


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every weight of the forward pass, as ``model.safetensors`` names them."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (VOCABULARY, HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (TOKEN_TYPES, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    for layer in range(LAYERS):
        for name, (rows, columns) in _LINEARS.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (rows, columns)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = shapes[f"encoder.layer.{layer}.{name}.bias"] = (HIDDEN,)
    return shapes


_LINEARS = {
    **dict.fromkeys((f"attention.self.{part}" for part in ("query", "key", "value")), (HIDDEN, HIDDEN)),
    "attention.output.dense": (HIDDEN, HIDDEN),
    "intermediate.dense": (INTERMEDIATE, HIDDEN),
    "output.dense": (HIDDEN, INTERMEDIATE),
}
