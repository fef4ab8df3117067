"""Seed child: LiteLLM's ValkeySemanticCache in an interpreter of its own, asked line by line over its standard input.

Arguments: the server's url, the texts as JSON, their vectors as ``.npy``; ``hiredis`` as a fourth
argument lets redis-py use that parser, which LiteLLM asks for in its extra ``proxy`` alone.

A line ``fill`` puts every text in; a line
``index <name>`` searches the index of that name from then on; a line of texts' numbers answers with the seconds of a
``get_cache`` for each, below zero for a miss. Its embedding call is replaced by a look-up of the given vectors, which
costs nothing; everything else is LiteLLM's own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ANSWER = "An answer of a usual length, two or three sentences, as a model gives it to a question of a user. " * 3
KEY = "bench"


def main() -> None:
    """Answer until the input ends."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    if "hiredis" not in sys.argv[4:]:
        sys.modules["hiredis"] = None  # type: ignore[assignment]  # an import of it then fails, as without the package
    import numpy as np  # noqa: PLC0415 - the environment of LiteLLM is set first
    from litellm.caching.valkey_semantic_cache import ValkeySemanticCache  # noqa: PLC0415

    url, texts_path, vectors_path = sys.argv[1:4]
    texts = json.loads(Path(texts_path).read_text())
    rows = [row.tolist() for row in np.load(vectors_path)]
    known = dict(zip(texts, rows, strict=True))

    def made(index: str | None) -> Any:
        cache = ValkeySemanticCache(redis_url=url, similarity_threshold=0.5, index_name=index)
        cache._get_embedding = lambda prompt, **_: known[prompt]  # noqa: SLF001 - the one thing that must cost nothing
        return cache

    cache = made(None)
    say("ready")
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "fill":
            for text in texts:
                if text.startswith("text "):
                    number = text.partition(" ")[2]
                    value = {"timestamp": time.time(), "response": f"{number}: {ANSWER}"}
                    cache.set_cache(KEY, value, messages=messages(text))
            say("filled")
        elif word == "index":
            cache = made(rest)
            say("changed")
        else:
            took = []
            for number in line.split():
                asked = messages(texts[int(number)])
                started = time.perf_counter()
                found = cache.get_cache(KEY, messages=asked)
                took.append(time.perf_counter() - started if found else -1.0)
            say(json.dumps(took))


def messages(text: str) -> list[dict[str, str]]:
    """Return the chat that asks ``text``."""
    return [{"role": "user", "content": text}]


def say(text: str) -> None:
    """Write a line to whoever asks."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
