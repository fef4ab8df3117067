"""LiteLLM: Nearhit as the cache of LiteLLM's SDK and of its proxy.

``install(threshold=0.9)`` is the one line. Importing this does not import litellm, which costs seconds; making a cache
does.
"""

from __future__ import annotations

from nearhit.litellm.install import cache, install, shared_scope
from nearhit.litellm.latest import latest_similarity
from nearhit.litellm.options import Options

__all__ = ["Options", "cache", "install", "latest_similarity", "shared_scope"]
