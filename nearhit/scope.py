"""Scope: who may share an answer, as one digest over everything that changes the answer."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from nearhit.errors import ContractError

PARAMETERS_THAT_DO_NOT_SPLIT = frozenset(
    {"user", "seed", "stream", "stream_options", "metadata", "timeout", "n_retries", "extra_headers"}
)
"""Call parameters that leave an answer's meaning alone; ``split_by`` brings one back."""

_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Everything but the question that an answer depends on. Two callers share answers when all of it is equal.

    Attributes:
        tenant: who the answer belongs to; empty shares it with all who name no tenant.
        model: the model that answers.
        system: the system prompt, where it is not a part of the messages.
        tools: tool definitions given to the model.
        response_format: the format that the answer must have.
        parameters: every other parameter that changes an answer, for example ``temperature``. The order never matters.
        split_by: names from ``PARAMETERS_THAT_DO_NOT_SPLIT`` that shall split the cache after all.
        digest: the digest that ``from_digest`` was given; empty for all other scopes.
        holds_tenant: what ``from_digest`` was given.
    """

    tenant: str = ""
    model: str = ""
    system: str = ""
    tools: Any = None
    response_format: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    split_by: frozenset[str] = frozenset()
    digest: str = field(default="", init=False)
    holds_tenant: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        for name in ("tenant", "model", "system"):
            if not isinstance(getattr(self, name), str):
                raise ContractError(f"{name} of a scope is text, not {type(getattr(self, name)).__name__}")
        if not isinstance(self.parameters, Mapping):
            raise ContractError(f"parameters of a scope are a mapping, not {type(self.parameters).__name__}")
        if not isinstance(self.split_by, Set):
            raise ContractError(f"split_by of a scope is a set of names, not {type(self.split_by).__name__}")

    @classmethod
    def from_digest(cls, digest: str, *, tenant: str = "", holds_tenant: bool = False) -> Scope:
        """Return the scope that a digest stands for: ``Miss.scope``, or one that another program made.

        Args:
            digest: 32 or 64 hex digits.
            tenant: who the answers belong to. Two tenants with one digest are two scopes.
            holds_tenant: the digest was made of the tenant, too, as ``Miss.scope`` is: it is taken as it is, and the
                tenant only says whose thresholds hold and whose entries these are.

        Raises:
            ContractError: the digest is something else.
        """
        if not isinstance(digest, str) or not _HEX.fullmatch(digest):
            shown = repr(digest)[:80] if isinstance(digest, str) else type(digest).__name__
            raise ContractError(f"digest of a scope is 32 or 64 hex digits, not {shown}")
        scope = cls(tenant=tenant)
        object.__setattr__(scope, "digest", digest)
        object.__setattr__(scope, "holds_tenant", holds_tenant)
        return scope

    @classmethod
    def of(cls, values: Scope | Mapping[str, Any] | None) -> Scope:
        """Return a scope from a scope, a mapping of its attributes and of further parameters, or nothing.

        Raises:
            ContractError: it is something else, an attribute has another type, or a parameter is given twice.
        """
        if values is None:
            return _EMPTY
        if isinstance(values, Scope):
            return values
        if not isinstance(values, Mapping):
            raise ContractError(f"a scope is a Scope or a mapping, not {type(values).__name__}")
        own = {name: value for name, value in values.items() if name in _OWN_NAMES and value is not None}
        rest = {name: value for name, value in values.items() if name not in _OWN_NAMES}
        named = own.get("parameters", {})
        if isinstance(named, Mapping):
            if twice := rest.keys() & named.keys():
                raise ContractError(f"parameter {min(map(str, twice))[:80]!r} of the scope is given twice")
            own["parameters"] = {**named, **rest}
        names = own.get("split_by", ())
        if (
            isinstance(names, Sequence | Set)
            and not isinstance(names, str)
            and all(isinstance(name, str) for name in names)
        ):
            own["split_by"] = frozenset(names)
        return cls(**own)


_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_OWN_NAMES = frozenset(item.name for item in fields(Scope) if item.init)
_EMPTY = Scope()


def scope_digest(scope: Scope, context: Any = None) -> str:
    """Return the hex digits that stand for ``scope`` in keys and tags: 32, or the digest itself that it was made from.

    Args:
        scope: who may share the answer.
        context: what else of the conversation changes the answer; see ``prompt.Question``.

    Raises:
        ContractError: a value has no canonical form: a generator, an object, a lone surrogate, or nested too deep.
    """
    if scope is _EMPTY and not context:
        return _EMPTY_DIGEST
    if scope.digest:
        tenant = "" if scope.holds_tenant else scope.tenant
        return digest_of(["digest", scope.digest, tenant, context]) if tenant or context else scope.digest
    return _digest(scope, context)


def _digest(scope: Scope, context: Any) -> str:
    kept = {
        name: value
        for name, value in scope.parameters.items()
        if value is not None and (name not in PARAMETERS_THAT_DO_NOT_SPLIT or name in scope.split_by)
    }
    whole = [
        scope.tenant,
        scope.model,
        scope.system,
        scope.tools,
        scope.response_format,
        kept,
        context or None,
    ]
    return digest_of(whole)


@lru_cache(maxsize=4096)
def tenant_digest(tenant: str) -> str:
    """Return the 32 hex digits that stand for a tenant; empty for none."""
    return digest_of(["tenant", tenant]) if tenant else ""


def digest_of(value: Any) -> str:
    """Return 32 hex digits of SHA-256 over the canonical JSON of ``value``.

    Raises:
        ContractError: it has no canonical form.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()[:32]


def canonical_json(value: Any) -> bytes:
    """Return ``value`` as JSON with sorted keys, whole floats as ints, bytes as digests, sets as sorted lists.

    Raises:
        ContractError: it has no canonical form.
    """
    try:
        plain = _plain(value, 0)
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ContractError(f"a scope value has no canonical form: {error}") from error


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if depth > _MAX_DEPTH:
        raise ContractError(f"a scope value is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, bytes | bytearray | memoryview):
        return {"\0sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((_plain(item, depth + 1) for item in value), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, range):  # a range can be longer than any memory
        return [_plain(item, depth + 1) for item in value]
    dump = getattr(value, "model_dump", None)  # pydantic models, the form in which clients pass messages and tools
    if callable(dump) and not isinstance(value, type):
        return _plain(dump(), depth + 1)
    if isinstance(value, type) and callable(schema := getattr(value, "model_json_schema", None)):
        return _plain(schema(), depth + 1)  # a pydantic class as a response format
    raise ContractError(f"a scope value has no canonical form: {type(value).__name__}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ContractError(f"a key of a scope value is text, not {type(key).__name__}")
    return key


_EMPTY_DIGEST = _digest(_EMPTY, None)
