"""Train the guard's network: ``python -m bench.train_guard DATA/pairs.jsonl.gz DATA/stream_qa.jsonl.gz …``.

Reads files of labelled pairs and of streams (see ``nearhit.evaluation``), embeds their texts with all-MiniLM-L6-v2,
and writes ``nearhit/guard/weights.json``. The same files give the same weights.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from bench.guard_data import Vectors, examples, read
from bench.guard_network import Recipe, train

_OUT = Path(__file__).resolve().parents[1] / "nearhit" / "guard" / "weights.json"


def main() -> None:
    """Train on the files that are named and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="files of pairs and of streams, gzip too")
    parser.add_argument("--vectors", type=Path, help="a .npz file that remembers the vectors between runs")
    parser.add_argument("--out", type=Path, default=_OUT, help="the weights file to write")
    arguments = parser.parse_args()
    data = read(arguments.files)
    made = examples(data, Vectors(arguments.vectors))
    recipe = Recipe()
    document = train(made.values, made.right, made.weights, recipe)
    document["trained"] = {
        "command": "python -m bench.train_guard",
        "files": sorted(path.name for path in arguments.files),
        "examples": len(made.right),
        "right": int(made.right.sum()),
        "pairs": len(data.pairs),
        "sources": sorted(set(made.sources.tolist())),
        "embedder": "all-MiniLM-L6-v2",
        "recipe": asdict(recipe),
    }
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"{len(made.right)} examples, {arguments.out.stat().st_size} bytes written to {arguments.out}")


if __name__ == "__main__":
    main()
