"""Seed child: LiteLLM's ValkeySemanticCache in an interpreter of its own, asked line by line over its standard input.

Arguments: the server's url, the texts as JSON, their vectors as rows of float32; ``hiredis`` as a fourth argument lets
redis-py use that parser, which LiteLLM asks for in its extra ``proxy`` alone.

A line ``fill`` puts every text in; a line ``index <name>`` searches the index of that name from then on; a line of
texts' numbers answers with the seconds of a ``get_cache`` for each, below zero where it gave no answer or another
text's. Its embedding call is replaced by a look-up of the given vectors, which costs nothing; everything else is
LiteLLM's own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from array import array
from pathlib import Path
from typing import Any

ANSWER = "An answer of a usual length, two or three sentences, as a model gives it to a question of a user. " * 3
KEY = "bench"


def main() -> None:
    """Answer until the input ends."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    if "hiredis" not in sys.argv[4:]:
        sys.modules["hiredis"] = None  # type: ignore[assignment]  # an import of it then fails, as without the package
    from litellm.caching.valkey_semantic_cache import (  # noqa: PLC0415 - its environment is set first
        ValkeySemanticCache,
    )

    url, texts_path, vectors_path = sys.argv[1:4]
    texts = json.loads(Path(texts_path).read_text())
    blob = Path(vectors_path).read_bytes()
    wide = len(blob) // len(texts)
    places = {text: at * wide for at, text in enumerate(texts)}
    known = {text: floats(blob, at, wide) for text, at in places.items() if text.startswith("ask ")}

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
                    known[text] = floats(blob, places[text], wide)
                    number = text.partition(" ")[2]
                    value = {"timestamp": time.time(), "response": f"{number}: {ANSWER}"}
                    cache.set_cache(KEY, value, messages=messages(text))
                    del known[text]
            say("filled")
        elif word == "index":
            cache = made(rest)
            say("changed")
        else:
            took = []
            for number in map(int, line.split()):
                text = texts[number]
                known.setdefault(text, floats(blob, places[text], wide))
                asked = messages(text)
                started = time.perf_counter()
                found = cache.get_cache(KEY, messages=asked)
                seconds = time.perf_counter() - started
                took.append(seconds if is_of(found, text) else -1.0)
            say(json.dumps(took))


def floats(blob: bytes, start: int, wide: int) -> list[float]:
    """Return the vector that stands at ``start``, as an embedding call gives it."""
    return array("f", blob[start : start + wide]).tolist()


def is_of(found: Any, text: str) -> bool:
    """Return whether what the cache gave is the answer of ``text``."""
    return isinstance(found, dict) and str(found.get("response", "")).startswith(text.partition(" ")[2] + ": ")


def messages(text: str) -> list[dict[str, str]]:
    """Return the chat that asks ``text``."""
    return [{"role": "user", "content": text}]


def say(text: str) -> None:
    """Write a line to whoever asks."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
