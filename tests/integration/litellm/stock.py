"""LiteLLM's own semantic cache class, as a program of its own: it needs redis-py below 6.

Reads commands as JSON lines from standard input and answers each with a JSON line: ``{"url", "threshold"}`` first, then
``{"do": "set" | "get" | "key", "index", "call", …}``. The vector of a command's text comes with it, as this interpreter
has nothing of ours.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    from litellm.caching.caching import Cache
    from litellm.caching.valkey_semantic_cache import ValkeySemanticCache

    setup = json.loads(sys.stdin.readline())

    vectors: dict[str, list[float]] = {}

    class Seed(ValkeySemanticCache):  # type: ignore[misc]  # litellm is not followed by the type checker
        def _get_embedding(self, prompt: str, metadata: Any = None) -> list[float]:
            return vectors[prompt]

    facades: dict[str, Any] = {}
    _say("ready")
    for line in sys.stdin:
        asked = json.loads(line)
        vectors.update(asked.get("vectors", {}))
        call, index = asked["call"], asked["index"]
        if index not in facades:
            seed = Seed(redis_url=setup["url"], similarity_threshold=setup["threshold"], index_name=index)
            facades[index] = Cache(type="valkey-semantic", _backend=seed)
        facade = facades[index]
        if asked["do"] == "set":
            facade.add_cache(asked["response"], **call)
            answer = None
        elif asked["do"] == "get":
            answer = facade.get_cache(**call)
        else:
            answer = facade.get_cache_key(**call)
        _say(answer)


def _say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
