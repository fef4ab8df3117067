"""LiteLLM provider: serves the local model to litellm, so that ``local/minilm`` is one more model string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.embedding.minilm.embedder import NAME, MiniLMEmbedder
from nearhit.llm.client import load_litellm

if TYPE_CHECKING:
    from nearhit.flow.ports import Embedder, Embeddings

_PROVIDER, _, _MODEL = NAME.partition("/")
_DEFAULT_TIMEOUT_SECONDS = 60.0


def register_local_provider(embedder: Embedder | None = None) -> None:
    """Make ``litellm.embedding(model="local/minilm", …)`` answer in this process; safe to call again.

    For code that speaks litellm. The cache itself calls the embedder directly, which is 2 ms faster.

    Args:
        embedder: who answers; by default a ``MiniLMEmbedder`` of its own. An earlier registration stays.

    Raises:
        ConfigError: litellm is not installed.
    """
    litellm = load_litellm()
    if any(entry["provider"] == _PROVIDER for entry in litellm.custom_provider_map):
        return
    local = embedder or MiniLMEmbedder()

    class LocalProvider(litellm.CustomLLM):  # type: ignore[misc, name-defined]  # exists once litellm is imported
        def embedding(self, model: str, input: list[str], **rest: Any) -> Any:  # noqa: A002 - litellm's name
            return _respond(litellm, model, local.embed(*_asked(litellm, model, input, rest)), rest)

        async def aembedding(self, model: str, input: list[str], **rest: Any) -> Any:  # noqa: A002 - the same
            return _respond(litellm, model, await local.embed_async(*_asked(litellm, model, input, rest)), rest)

    litellm.custom_provider_map.append({"provider": _PROVIDER, "custom_handler": LocalProvider()})
    litellm.utils.custom_llm_setup()


def _asked(litellm: Any, model: str, texts: list[str] | str, rest: dict[str, Any]) -> tuple[list[str], float]:
    """Return texts and time limit of a call."""
    if model != _MODEL:
        raise litellm.NotFoundError(
            message=f"there is no local model {model!r}, only {_MODEL!r}", model=model, llm_provider=_PROVIDER
        )
    timeout = rest.get("timeout")
    seconds = float(timeout) if isinstance(timeout, int | float) else _DEFAULT_TIMEOUT_SECONDS
    return [texts] if isinstance(texts, str) else texts, seconds


def _respond(litellm: Any, model: str, answer: Embeddings, rest: dict[str, Any]) -> Any:
    response = rest["model_response"]
    response.model = model
    response.data = [
        {"object": "embedding", "index": index, "embedding": vector.tolist()}
        for index, vector in enumerate(answer.vectors)
    ]
    counted = answer.tokens
    response.usage = litellm.Usage(prompt_tokens=counted, completion_tokens=0, total_tokens=counted)
    return response
