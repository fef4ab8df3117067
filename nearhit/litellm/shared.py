"""Shared: questions and scopes as LiteLLM's own semantic cache makes them, for ``layout="litellm"``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from nearhit.domain.conversation import Reader, mapping_of
from nearhit.domain.prompt import Bypass, read_prompt
from nearhit.domain.scope import Scope
from nearhit.litellm.request import (
    QUESTIONS,
    UNREADABLE,
    Request,
    continues,
    control_of,
    limits_of,
    metadata_of,
    tenant_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.litellm.request import Reading


def scope_of_key(key: str, tenant: str = "") -> Scope:
    """Return the scope that LiteLLM's class makes of a cache key: SHA-256 hex, 64 digits.

    The key holds the caller's key, team and organisation as LiteLLM's class takes them in; to put the tenant into the
    digest once more would hide our entries from it.
    """
    return Scope.from_digest(hashlib.sha256(key.encode()).hexdigest(), tenant=tenant, holds_tenant=True)


def read_shared(call: Mapping[str, Any], key: str, reading: Reading) -> Request:
    """Return what a call asks as LiteLLM's class reads it.

    Its text holds all turns and its key no content, so images, files and tool calls would be in neither: such a call
    is left alone.

    Args:
        call: parameters of the call.
        key: LiteLLM's own cache key for it.
        reading: whose metadata separates callers.
    """
    from litellm.caching.redis_semantic_cache import RedisSemanticCache  # noqa: PLC0415 - litellm costs seconds

    value = next((call[name] for name in QUESTIONS if call.get(name) is not None), None)
    readable = _only_text(value) and not continues(call)
    text = RedisSemanticCache._get_prompt_from_kwargs(**dict(call)) if readable else None  # noqa: SLF001 - must be the very text
    metadata = call.get("metadata")
    return Request(
        question=text if readable else UNREADABLE,
        scope=scope_of_key(key, tenant_of(metadata_of(call), reading.tenant_fields)),
        model=str(call.get("model") or ""),
        metadata=metadata if isinstance(metadata, dict) else None,
        **limits_of(call, control_of(call)),
    )


def _only_text(question: Any) -> bool:
    """Return whether a question is text in all of its turns, and no turn says anything besides."""
    if isinstance(read_prompt(question), Bypass):
        return False
    if isinstance(question, str | bytes):
        return True
    turns = [Reader().turn(mapping_of(message)) for message in question]
    contents = [turn.get("content", "") for turn in turns]
    return all(turn.keys() <= {"role", "content"} for turn in turns) and all(
        isinstance(content, str) or all(isinstance(part, str) for part in content) for content in contents
    )
