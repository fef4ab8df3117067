"""Resolve: makes the embedder that a model string names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from nearhit.flow.ports import Embedder

LOCAL_MODEL = "local/minilm"
_HASH_PREFIX = "hash/"


def embedder_for(model: str, **options: Any) -> Embedder:
    """Return the embedder for ``model``; nothing is loaded or connected before its first call.

    Args:
        model: ``local/minilm`` (all-MiniLM-L6-v2 in this process), ``hash/<dimension>`` (deterministic, for
            tests), or any model string of LiteLLM, for example ``openai/text-embedding-3-small``.
        **options: arguments of the embedder: ``folder``, ``runtime`` for the local model; ``dimensions``,
            ``api_base``, ``api_key``, ``max_texts_per_call``, ``extra`` for LiteLLM.

    Returns:
        An embedder that keeps its deadline: a remote one is wrapped in ``DeadlineEmbedder``.

    Raises:
        ConfigError: ``model`` is empty, its hash dimension is no number, or an option is unknown to its embedder.
    """
    # imported here: each choice brings parts that the others do not need
    try:
        if model == LOCAL_MODEL:
            from nearhit.embedding.minilm.embedder import MiniLMEmbedder  # noqa: PLC0415

            return MiniLMEmbedder(**options)
        if model.startswith(_HASH_PREFIX):
            from nearhit.testing import HashEmbedder  # noqa: PLC0415

            digits = model.removeprefix(_HASH_PREFIX)
            if not (digits.isascii() and digits.isdigit()):
                raise ConfigError(f"embedder {model!r}: {digits!r} is not a dimension; for example 'hash/384'")
            return HashEmbedder(int(digits), **options)
        from nearhit.embedding.deadline_embedder import DeadlineEmbedder  # noqa: PLC0415
        from nearhit.embedding.litellm_embedder import LiteLLMEmbedder  # noqa: PLC0415

        return DeadlineEmbedder(LiteLLMEmbedder(model, **options))
    except TypeError as error:
        names = ", ".join(sorted(options))
        raise ConfigError(f"embedder {model!r} does not take these options: {names} ({error})") from error
