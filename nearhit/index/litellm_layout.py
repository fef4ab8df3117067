"""LiteLLM layout: the entries of LiteLLM's own ``valkey-semantic`` cache, written so that both programs serve both.

What LiteLLM writes, read in its 1.106: a HASH at ``{index}:{scope}:{anything}`` with ``litellm_cache_key`` (TAG,
SHA-256 hex of its cache key), ``prompt``, ``response`` (a mapping of ``timestamp`` and ``response``, as Python writes
it) and ``embedding``. It reads ``response`` as JSON first, so JSON is what this writes. Our own fields stand beside
these; it never looks at them. Watched by ``tests/integration/litellm/test_shared_index.py``, with LiteLLM's own class.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nearhit.domain import entry, vectors
from nearhit.domain.hit_policy import MAX_TTL_SECONDS
from nearhit.domain.neighbour import Neighbour
from nearhit.errors import ConfigError, IndexMismatchError
from nearhit.flow.steps import Flow, ReplyError, ask
from nearhit.index.quick_search import CANDIDATES, QuickSearch
from nearhit.index.valkey_search import search_error
from nearhit.valkey import search_protocol
from nearhit.valkey.key_names import CacheKeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.domain.entry import Entry
    from nearhit.flow.steps import Command
    from nearhit.settings import Settings

SCOPE = b"litellm_cache_key"
"""LiteLLM's field for who may share an answer."""

_RETURNED = (search_protocol.DISTANCE, SCOPE, *entry.READ_FIELDS)


@dataclass(frozen=True, slots=True)
class SharedKeys(CacheKeys):
    """Names on the cache server in LiteLLM's layout.

    Attributes:
        shared: name of the index; its keys begin with it.
    """

    shared: str = "litellm_semantic_cache_index"

    @property
    def prefix(self) -> str:
        """The prefix of every entry, LiteLLM's and ours."""
        return f"{self.shared}:"

    def index(self, generation: int) -> str:  # noqa: ARG002 - LiteLLM's index has no generations
        """Return the name of the index."""
        return self.shared

    def fields(self, one: Entry) -> dict[bytes, bytes]:
        """Return LiteLLM's HASH fields of an entry, and ours beside them."""
        fields = entry.to_fields(one)
        fields[SCOPE] = one.scope.encode()
        fields[entry.RESPONSE] = wrap(one)
        fields[entry.LARGE_RESPONSE] = b""
        return fields


def keys_of(namespace: str, embedder: str, shared_index: str) -> CacheKeys:
    """Return the names on the cache server: LiteLLM's where an index is shared with it, else ours."""
    return SharedKeys(namespace, embedder, shared_index) if shared_index else CacheKeys(namespace, embedder)


def check_own_layout(settings: Settings, what: str) -> None:
    """Raise for ``what`` knows only entries of ours.

    Raises:
        ConfigError: the entries lie in LiteLLM's layout.
    """
    if settings.shared_index:
        raise ConfigError(
            f"{what} knows no entries in layout 'litellm': they end with their time to live, or are removed by "
            "litellm.cache.delete_cache_keys"
        )


class SharedEngine:
    """Searches the index that LiteLLM's class makes and searches.

    Args:
        keys: names in LiteLLM's layout.
        dimension: length of the vectors.
        ef_runtime: candidates of a search; LiteLLM's own searches look at 10.
    """

    name = "valkey-search"
    backfilling = False

    def __init__(self, keys: SharedKeys, dimension: int, ef_runtime: int) -> None:
        self._keys = keys
        self._ef_runtime = ef_runtime
        self.quick = QuickSearch() if ef_runtime > CANDIDATES else None
        self._shape = search_protocol.Shape(keys.prefix, dimension)

    def search(self, scope: str, vector: NDArray[np.float32], k: int, candidates: int = 0) -> Flow[list[Neighbour]]:
        """Search as ``Engine.search`` says; entries that LiteLLM wrote come completed with what ours have."""
        near = f"[KNN {k} @embedding $v EF_RUNTIME {candidates or self._ef_runtime} AS distance]"
        command: Command = (
            *("FT.SEARCH", self._keys.shared, f"(@{SCOPE.decode()}:{{{scope}}})=>{near}"),
            *("PARAMS", 2, "v", vectors.to_bytes(vector), "LIMIT", 0, k),
            *("RETURN", len(_RETURNED), *_RETURNED, "DIALECT", 2),
        )
        reply = yield from ask(command, "search")
        if isinstance(reply, ReplyError):
            raise search_error(self._keys.shared, reply)
        found = search_protocol.parse_search(reply)
        return [Neighbour(one.key, one.similarity, completed(one.fields, self._keys.embedder)) for one in found]

    def prepare(self) -> Flow[bool]:
        """Create the index as LiteLLM does, or verify an existing one.

        Returns:
            Whether this call made it.

        Raises:
            IndexMismatchError: the index holds vectors of another dimension or other keys.
            ConfigError: the server has no search module, or the user may not use it.
        """
        name, shape = self._keys.shared, self._shape
        command: Command = (
            *("FT.CREATE", name, "ON", "HASH", "PREFIX", 1, shape.prefix, "SCHEMA", SCOPE, "TAG"),
            *(entry.EMBEDDING, "VECTOR", shape.algorithm, 6, "TYPE", "FLOAT32", "DIM", shape.dimension),
            *("DISTANCE_METRIC", shape.metric),
        )
        made = yield from ask(command)
        if not isinstance(made, ReplyError):
            return True
        if not search_protocol.is_existing_index(made.text):
            raise search_error(name, made)
        reply = yield from ask(search_protocol.info(name))
        if isinstance(reply, ReplyError):
            raise search_error(name, reply)
        differences = search_protocol.mismatches(shape, search_protocol.parse_info(reply).shape)
        if differences:
            raise IndexMismatchError(
                f"index {name!r} has another shape ({'; '.join(differences)}); take the embedding model "
                "that LiteLLM uses, or another layout_index"
            )
        return False

    def wait_ready(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - the port's signature
        """Return True: the index lives in the server."""
        return True

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Do nothing: the index lives in the server."""


def wrap(one: Entry) -> bytes:
    """Return the answer of an entry as LiteLLM's class expects it: its time, and a provider's response as JSON text.

    A plain text becomes the chat completion that would have carried it.
    """
    answer: Any = json.loads(one.response)
    if isinstance(answer, dict) and answer.keys() == {"timestamp", "response"}:
        return one.response
    if not isinstance(answer, dict):
        answer = _chat_completion(answer if isinstance(answer, str) else json.dumps(answer), one)
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    return json.dumps({"timestamp": one.created_us / 1e6, "response": text}, ensure_ascii=False).encode()


def completed(fields: Mapping[bytes, bytes], embedder: str) -> dict[bytes, bytes]:
    """Return the fields of an entry with all that ours have.

    What LiteLLM wrote lacks embedder and times: the embedder is taken to be ours, as the one index holds the vectors of
    one model; its age is that of the answer; its end is the server's matter.
    """
    whole = dict(fields)
    if entry.CREATED in whole or entry.RESPONSE not in whole:
        return whole
    answer = _read(whole[entry.RESPONSE])
    if answer is None:
        del whole[entry.RESPONSE]  # so that the entry counts as unreadable
        return whole
    try:
        created = float(answer.get("timestamp", 0.0))
    except (TypeError, ValueError):
        created = 0.0
    end_ms = b"%d" % round((created + MAX_TTL_SECONDS) * 1000)
    whole[entry.RESPONSE] = json.dumps(answer, ensure_ascii=False).encode()
    whole[entry.SCOPE] = whole.get(SCOPE, b"")
    whole[entry.EMBEDDER] = embedder.encode()
    whole[entry.CREATED] = b"%d" % round(created * 1e6)
    whole[entry.FRESH_UNTIL] = whole[entry.EXPIRES] = end_ms
    return whole


def _read(blob: bytes) -> dict[str, Any] | None:
    try:
        text = blob.decode()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = ast.literal_eval(text)
        json.dumps(answer)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _chat_completion(text: str, one: Entry) -> dict[str, Any]:
    usage = one.usage
    counts = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
    return {
        "id": f"chatcmpl-{entry.prompt_digest(one.prompt)}",
        "object": "chat.completion",
        "created": one.created_us // 1_000_000,
        "model": usage.model if usage else "",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)},
    }
