"""Options: how LiteLLM's calls are cached, besides ``Settings``."""

from __future__ import annotations

from dataclasses import dataclass

from nearhit.errors import ConfigError
from nearhit.litellm.request import TENANT_FIELDS

CALL_TYPES = ("completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses")
"""Calls that have a question and an answer. Embeddings, transcriptions and rerankings have neither."""

SPLITTERS = frozenset({"user", "seed", "stream"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How LiteLLM's calls are cached.

    Attributes:
        call_types: which calls; of ``CALL_TYPES``.
        tenant_fields: what of the proxy's metadata keeps callers apart. Fewer share more: without
            ``user_api_key`` and the end user, a team's keys share their answers.
        split_by: of ``user``, ``seed`` and ``stream``, those that shall keep callers apart, too.
        similar_tool_calls: serve an answer that calls tools to a question in other words. Off: tool calls carry
            arguments out of the very words, so they are served to the same words only.
        default_off: cache only calls that ask for it with ``cache={"use-cache": True}``.
        max_messages: leave longer conversations alone; ``None`` takes all, as earlier turns belong to the scope.

    Raises:
        ConfigError: a call type or a parameter to split by is not one of those.
    """

    call_types: tuple[str, ...] = CALL_TYPES
    tenant_fields: tuple[str, ...] = TENANT_FIELDS
    split_by: frozenset[str] = frozenset()
    similar_tool_calls: bool = False
    default_off: bool = False
    max_messages: int | None = None

    def __post_init__(self) -> None:
        for name, chosen, known in (
            ("call_types", self.call_types, CALL_TYPES),
            ("split_by", self.split_by, SPLITTERS),
        ):
            if unknown := sorted(set(chosen) - set(known)):
                raise ConfigError(f"{name} may hold {', '.join(sorted(known))}, not {unknown[0]!r}")
