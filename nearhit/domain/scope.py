"""Scope: who may share an answer, as one digest over everything that changes the answer."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from nearhit.errors import ContractError, TooLargeError

PARAMETERS_THAT_DO_NOT_SPLIT = frozenset(
    {"user", "seed", "stream", "stream_options", "metadata", "timeout", "n_retries", "extra_headers"}
)
"""Call parameters that leave an answer's meaning alone; ``split_by`` brings one back."""

MAX_VALUES = 8_000
"""How many values one digest covers: messages, fields, parameters, parts of tool definitions."""

MAX_BYTES = 2 * 1024 * 1024
"""How many bytes of text and media one digest covers, a character beyond ASCII as four. That takes about 4 ms of CPU on
one core of 2020, as many values as allowed another 4; see ``tests/unit/domain/test_large_input.py``."""

_MAX_DEPTH = 64
_TINY = 64
"""Texts up to this size are counted as a value, not by their bytes."""

_SHORT = 256
"""Texts up to this size stand in the canonical form themselves, longer ones by their digest, which is faster."""


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

    >>> polite = Scope(tenant="acme", model="gpt-4o", parameters={"temperature": 0.2})
    >>> polite == Scope.of({"tenant": "acme", "model": "gpt-4o", "temperature": 0.2})
    True
    >>> scope_digest(polite) == scope_digest(Scope(tenant="other", model="gpt-4o", parameters={"temperature": 0.2}))
    False
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
        """Return the scope of a digest: ``Miss.scope``, or one that another program made.

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
        if len(values) > MAX_VALUES:
            raise TooLargeError(f"the scope has more than {MAX_VALUES} values")
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


def scope_digest(scope: Scope, context: str = "") -> str:
    """Return the hex digits of ``scope`` in keys and tags: 32, or the digest itself that it was made from.

    Args:
        scope: who may share the answer.
        context: digest of what else of the conversation changes the answer; see ``prompt.PromptText``.

    Raises:
        ContractError: a value has no canonical form: a generator, an object, a lone surrogate, or nested too deep.
        TooLargeError: there is more than ``MAX_VALUES`` or ``MAX_BYTES`` of it.
    """
    if scope is _EMPTY and not context:
        return _EMPTY_DIGEST
    if scope.digest:
        tenant = "" if scope.holds_tenant else scope.tenant
        return digest_of(["digest", scope.digest, tenant, context]) if tenant or context else scope.digest
    kept = {
        name: value
        for name, value in scope.parameters.items()
        if value is not None and (name not in PARAMETERS_THAT_DO_NOT_SPLIT or name in scope.split_by)
    }
    return digest_of([scope.tenant, scope.model, scope.system, scope.tools, scope.response_format, kept, context])


@lru_cache(maxsize=4096)
def tenant_digest(tenant: str) -> str:
    """Return the 32 hex digits of a tenant; empty for none."""
    return digest_of(["tenant", tenant]) if tenant else ""


def digest_of(value: Any) -> str:
    """Return 32 hex digits of SHA-256 over the canonical JSON of ``value``.

    Raises:
        ContractError: it has no canonical form.
        TooLargeError: there is more than ``MAX_VALUES`` or ``MAX_BYTES`` of it.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()[:32]


def canonical_json(value: Any) -> bytes:
    """Return ``value`` as JSON with sorted keys, whole floats as ints, sets as sorted lists.

    Bytes and long texts stand in it by their digests.

    Raises:
        ContractError: it has no canonical form.
        TooLargeError: there is more than ``MAX_VALUES`` or ``MAX_BYTES`` of it.
    """
    try:
        plain = _plain(value, 0, _Room())
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()
    except ContractError:
        raise
    except Exception as error:  # the methods of a caller's own objects raise whatever they like
        raise ContractError(f"a scope value has no canonical form: {type(error).__name__}") from error


class _Room:
    """How much more one digest covers."""

    __slots__ = ("bytes", "values")

    def __init__(self) -> None:
        self.values = MAX_VALUES
        self.bytes = MAX_BYTES

    @property
    def spent(self) -> TooLargeError:
        """What to raise where there are more values."""
        return TooLargeError(f"a scope or a conversation has more than {MAX_VALUES} values")

    def take_bytes(self, count: int) -> None:
        self.bytes -= count
        if self.bytes < 0:
            raise TooLargeError(f"a scope or a conversation has more than {MAX_BYTES} bytes")


def _plain(value: Any, depth: int, room: _Room) -> Any:
    kind = type(value)  # asking for the very type first: nearly all values are of one of these
    if kind is str:
        return _text(value, room)
    if kind is bool or value is None:
        return value
    if depth > _MAX_DEPTH:
        raise ContractError(f"a scope value is nested deeper than {_MAX_DEPTH}")
    if kind is dict or isinstance(value, Mapping):
        return _mapping(value, depth + 1, room)
    if kind is list or kind is tuple:
        return _sequence(value, depth + 1, room)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            room.take_bytes(value.bit_length())  # to write down a number of many digits takes long
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    return _other(value, depth, room)


def _other(value: Any, depth: int, room: _Room) -> Any:
    if isinstance(value, str):
        return _text(value, room)
    if isinstance(value, bytes | bytearray | memoryview):
        room.take_bytes(value.nbytes if isinstance(value, memoryview) else len(value))
        return {"\0bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, Set):
        return sorted(_sequence(value, depth + 1, room), key=repr)
    if isinstance(value, Sequence) and not isinstance(value, range):  # a range can be longer than any memory
        return _sequence(value, depth + 1, room)
    dump = getattr(value, "model_dump", None)  # pydantic models, the form in which clients pass messages and tools
    if callable(dump) and not isinstance(value, type):
        return _plain(dump(), depth + 1, room)
    if isinstance(value, type) and callable(schema := getattr(value, "model_json_schema", None)):
        return _plain(schema(), depth + 1, room)  # a pydantic class as a response format
    raise ContractError(f"a scope value has no canonical form: {type(value).__name__}")


def _text(value: str, room: _Room) -> Any:
    size = len(value) if value.isascii() else 4 * len(value)
    room.take_bytes(size)
    return value if size <= _SHORT else {"\0text": hashlib.sha256(value.encode()).hexdigest()}


def _mapping(value: Mapping[Any, Any], depth: int, room: _Room) -> dict[str, Any]:
    plain = {}
    for key, item in value.items():
        room.values -= 1
        if type(key) is not str or len(key) > _SHORT or key[:1] == "\0":
            if not isinstance(key, str):
                raise ContractError(f"a key of a scope value is text, not {type(key).__name__}")
            room.take_bytes(4 * len(key))
            # our own marks begin with a NUL: a caller's key that does gets another one
            key = f"\0{key}" if key.startswith("\0") else key
        plain[key] = item if type(item) is str and len(item) <= _TINY else _plain(item, depth, room)
        if room.values < 0:
            raise room.spent
    return plain


def _sequence(value: Any, depth: int, room: _Room) -> list[Any]:
    plain = []
    for item in value:
        room.values -= 1
        plain.append(item if type(item) is str and len(item) <= _TINY else _plain(item, depth, room))
        if room.values < 0:
            raise room.spent
    return plain


_EMPTY_DIGEST = scope_digest(Scope())
"""Of the scope of all who name none; asked for so often that it is made once."""
