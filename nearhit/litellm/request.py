"""Request: the question and the scope of a LiteLLM call, and its caching options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nearhit.domain.conversation import MAX_FIELDS
from nearhit.domain.scope import Scope

QUESTIONS = ("messages", "prompt", "input")
"""Parameters that hold the question: chat, text completion, Responses API."""

TENANT_FIELDS = (
    "user_api_key",
    "user_api_key_team_id",
    "user_api_key_org_id",
    "user_api_key_end_user_id",
)
"""What LiteLLM's proxy says of its caller in ``metadata``, by its own authentication."""

_NEVER_IN_SCOPE = frozenset(
    {
        *QUESTIONS,
        *("model", "cache", "cache_key", "caching", "metadata", "litellm_metadata", "litellm_params"),
        # who asks, and how: none of it changes what is said
        *("api_key", "extra_headers", "timeout", "request_timeout", "organization", "max_retries", "num_retries"),
        *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "service_tier"),
        *("store", "drop_params", "parent_otel_span", "litellm_logging_obj", "client"),
        *("text_completion", "acompletion", "atext_completion", "dynamic_cache_object"),
        *("api_type", "deployment_id", "specific_deployment", "model_list", "fallbacks"),
    }
)

_OURS_TO_WATCH = frozenset(
    {
        *("mock_response", "litellm_system_prompt", "merge_reasoning_content_in_choices", "custom_prompt_dict"),
        *("prompt_id", "prompt_label", "prompt_version", "prompt_environment", "prompt_variables", "guardrails"),
        *("assistant_continue_message", "user_continue_message", "ensure_alternating_roles"),
        *("roles", "initial_prompt_value", "final_prompt_value", "bos_token", "eos_token", "supports_system_message"),
        *("hf_model_name", "model_alias_map", "allowed_openai_params", "search_tool_name", "max_agentic_loops"),
    }
)
"""Parameters that LiteLLM keeps for itself but that change an answer."""

_WHERE = ("custom_llm_provider", "api_base", "base_url", "region_name")
"""Which server answers; a router's deployments of one model group are interchangeable, so it is left out there."""

_READABLE_ITEMS = frozenset({None, "message", "function_call", "function_call_output"})
"""Items of the Responses API whose whole content reaches the scope; a reference to stored state does not."""

UNREADABLE = (object(),)
"""Stands for a question that holds an unknown part: a lookup names it as such."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How requests are read.

    Attributes:
        owned: parameters that LiteLLM keeps for itself, which providers never see.
        tenant_fields: what of the proxy's metadata separates callers.
        split_by: of ``user``, ``seed`` and ``stream``, those that shall split the cache.
    """

    owned: frozenset[str] = frozenset()
    tenant_fields: tuple[str, ...] = TENANT_FIELDS
    split_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Request:
    """A LiteLLM call as the cache sees it.

    Attributes:
        question: for ``SemanticCache.lookup``.
        scope: who may share the answer.
        model: the model as the caller named it.
        ttl_seconds: hard time to live that the caller asked for; ``None`` for the setting.
        max_age_seconds: oldest answer that the caller takes; ``None`` for any.
        read: False when the caller wants no cached answer.
        write: False when the caller wants the answer not to be stored.
        metadata: where LiteLLM looks for the similarity; ``None`` where the caller gave none.
        text: whether the answer is a text completion.
    """

    question: Any
    scope: Scope
    model: str = ""
    ttl_seconds: float | None = None
    max_age_seconds: float | None = None
    read: bool = True
    write: bool = True
    metadata: dict[str, Any] | None = field(default=None, compare=False)
    text: bool = False


def read_request(call: Mapping[str, Any], reading: Reading) -> Request:
    """Return what a call asks; the order of its parameters never matters."""
    if call.get("text_completion") is True:
        return _read_inner(call, reading)
    metadata = metadata_of(call)
    control = control_of(call)
    name = next((name for name in QUESTIONS if call.get(name) is not None), QUESTIONS[0])
    group = _model_group(call, metadata)
    parameters = {
        key: value
        for key, value in call.items()
        if not (value is None or key in _NEVER_IN_SCOPE or key in _WHERE or key.startswith("_litellm_"))
        and (key in _OURS_TO_WATCH or key not in reading.owned)
    }
    parameters |= {f"\0{key}": call[key] for key in reading.split_by if call.get(key) is not None}
    if not group:
        parameters |= {key: call[key] for key in _WHERE if call.get(key)}
    parameters["\0question"] = name
    namespace = control.get("namespace") or metadata.get("redis_namespace")
    parameters["\0namespace"] = str(namespace) if namespace else None
    model = str(call.get("model") or "")
    return Request(
        question=UNREADABLE if continues(call) else _question(call.get(name)),
        scope=Scope(
            tenant=tenant_of(metadata, reading.tenant_fields),
            # LiteLLM renames the model of a text completion on its way
            model=group or (model.removeprefix("text-completion-") if name == "prompt" else model),
            parameters=parameters,
        ),
        text=name == "prompt",
        model=model,
        metadata=next((call[place] for place in reversed(_METADATA) if isinstance(call.get(place), dict)), None),
        **limits_of(call, control),
    )


def _read_inner(call: Mapping[str, Any], reading: Reading) -> Request:
    """Read the chat call into which LiteLLM turns a text completion, inside the caller's own call.

    It alone sees a blocking stream end, so it writes that; all else is left to the call around it.
    """
    messages = call.get("messages") or [{}]
    outer = {name: value for name, value in call.items() if name not in {"text_completion", "messages"}}
    request = read_request({**outer, "prompt": _get(messages[0], "content")}, reading)
    return replace(request, read=False, write=request.write and call.get("stream") is True)


def continues(call: Mapping[str, Any]) -> bool:
    """Return whether a call of the Responses API goes on with a conversation that the provider keeps."""
    return any(call.get(name) for name in ("conversation", "previous_response_id"))


def limits_of(call: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a call says of caching: ``cache={…}``, and ``ttl`` as LiteLLM's facade passes it."""
    ttl = control.get("ttl", call.get("ttl"))
    ages = [control.get(name) for name in ("s-maxage", "s-max-age")]
    age = next((age for age in ages if _is_number(age)), None)
    return {
        "ttl_seconds": ttl if _is_number(ttl) and ttl > 0 else None,
        "max_age_seconds": age,
        "read": control.get("no-cache") is not True,
        "write": control.get("no-store") is not True and not (_is_number(ttl) and ttl <= 0),
    }


def control_of(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the ``cache`` parameter of a call."""
    control = call.get("cache")
    return control if isinstance(control, Mapping) else {}


def metadata_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return all metadata of a call: the proxy and the router put theirs in one of four places."""
    params = call.get("litellm_params")
    places = [source.get(name) for source in (params, call) if isinstance(source, Mapping) for name in _METADATA]
    return {key: value for place in places if isinstance(place, Mapping) for key, value in place.items()}


def tenant_of(metadata: Mapping[str, Any], fields: Sequence[str]) -> str:
    """Return the tenant: every one of ``fields`` that the metadata has, by name; empty for none."""
    values = {name: str(metadata[name]) for name in fields if metadata.get(name) not in (None, "")}
    return json.dumps(values, sort_keys=True) if values else ""


_METADATA = ("litellm_metadata", "metadata")


def _model_group(call: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    group = metadata.get("model_group")
    for shared in metadata.get("caching_groups") or call.get("caching_groups") or ():
        if group in shared:
            return str(sorted(map(str, shared)))
    return str(group) if group else ""


def _question(value: Any) -> Any:
    """Return the question, or one that a lookup refuses by name where a part would not reach the scope."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) <= MAX_FIELDS:
        for item in value:
            kind = _get(item, "type")
            if (isinstance(kind, str) or kind is None) and kind in _READABLE_ITEMS and not _get(item, "audio"):
                continue
            return UNREADABLE
    return value


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
