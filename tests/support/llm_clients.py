"""LLM clients: closes the connections that litellm keeps for its next blocking call."""

from __future__ import annotations

import inspect
import sys


def close_llm_clients() -> None:
    """Close and forget litellm's blocking clients; those of an event loop are closed in that loop."""
    litellm = sys.modules.get("litellm")
    if litellm is None:
        return
    kept = litellm.in_memory_llm_clients_cache
    for name, client in list(kept.cache_dict.items()):
        close = getattr(client, "close", None)
        if close is not None and not inspect.iscoroutinefunction(close):
            kept.delete_cache(name)
            close()
