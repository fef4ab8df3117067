"""Invalidation: removes entries before they expire, found with SCAN page by page, never with KEYS or FLUSH.

Queued fills are not affected: one that was accepted before and is stored after is a new entry.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from msgspec import Meta, Struct, ValidationError, convert, structs

from nearhit.domain import entry
from nearhit.domain.prompt import Bypass, read_prompt
from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.embedding import registry
from nearhit.errors import ConfigError, ContractError
from nearhit.flow.steps import Flow, ReplyError, Send
from nearhit.valkey import keyspace
from nearhit.valkey.key_names import CacheKeys, check_namespace
from nearhit.valkey.replies import whole
from nearhit.write.upsert import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TASK_INVALIDATE = "nearhit.invalidate"
PAGE_SECONDS = 10.0
"""How long one page may take."""

_PAGE = 500
_EMBEDDER = re.compile(r"[0-9a-f]{12}")
_ANY_EMBEDDER = "?" * 12


class Which(TypedDict, total=False):
    """Which entries are removed. Several together narrow it down; at least one is needed.

    Attributes:
        prompt: the one entry of this question, as for ``lookup``; with ``scope``, where it has one.
        scope: all entries of a scope, as for ``lookup``; of the scope itself, not of conversations in it.
        tenant: all entries of a tenant, whatever else their scopes say.
        older_than_seconds: entries whose answer was given longer ago.
        embedder: entries of an embedder, by its fingerprint of 12 hex digits.
        everything: True takes all entries of the namespace.
    """

    prompt: Any
    scope: Scope | Mapping[str, Any]
    tenant: str
    older_than_seconds: float
    embedder: str
    everything: bool


Digest = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{32})?\Z")]


class Selection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``Which`` in digests alone, so that it can travel in a Celery message.

    Attributes:
        by: what was asked for, from a closed set: ``entry``, ``scope``, ``tenant``, ``age``, ``embedder``,
            ``namespace``.
        scope: hex digest; empty for all.
        text: hex digest of the canonical text; empty for all.
        tenant: hex digest; empty for all.
        before_us: only answers given before, microseconds since the epoch; 0 for all.
        embedder: fingerprint; empty for all.
    """

    by: str
    scope: Digest = ""
    text: Digest = ""
    tenant: Digest = ""
    before_us: int = 0
    embedder: Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{12})?\Z")] = ""

    def to_message(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return structs.asdict(self)

    @classmethod
    def from_message(cls, row: Mapping[str, Any]) -> Selection:
        """Return what ``to_message`` gave.

        Raises:
            ContractError: it is something else; digests are checked, since they become a pattern.
        """
        try:
            return convert(row, cls)
        except ValidationError as error:
            raise ContractError(f"the selection cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Paged:
    """How far work has come that goes through all entries page by page.

    Attributes:
        cursor: of the next page; empty when all entries were visited.
    """

    cursor: str = field(default=keyspace.START, kw_only=True)

    @property
    def finished(self) -> bool:
        """Whether all entries were visited."""
        return not self.cursor


@dataclass(frozen=True, slots=True)
class Invalidated(Paged):
    """Progress of an invalidation.

    Attributes:
        matched: entries that were selected.
        removed: entries that were there and are gone; 0 in a dry run.
        queued: a worker does it; nothing is counted here.
    """

    matched: int = 0
    removed: int = 0
    queued: bool = False


_MUST_BE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "tenant": ("text", lambda value: isinstance(value, str) and value),
    "embedder": ("a fingerprint of 12 hex digits", lambda value: isinstance(value, str) and _EMBEDDER.fullmatch(value)),
    "older_than_seconds": ("0 or more", lambda value: type(value) in {int, float} and 0 <= value < 1e10),
}

_BY = {"prompt": "entry", "scope": "scope", "tenant": "tenant", "older_than_seconds": "age"}
_BY |= {"embedder": "embedder", "everything": "namespace"}
"""What each option asks for, the narrowest first."""


def select(which: Mapping[str, Any]) -> Selection:
    """Return the selection that ``Which`` describes.

    Raises:
        ConfigError: nothing is selected, an option is unknown, or a value is out of range.
        ContractError: the scope or the prompt has no canonical form.
    """
    unknown = set(which) - Which.__annotations__.keys()
    if unknown:
        raise ConfigError(f"invalidate has no option {sorted(unknown)[0]!r}")
    given = {name: value for name, value in which.items() if value is not None and value is not False}
    if not given:
        raise ConfigError("invalidate needs prompt, scope, tenant, older_than_seconds, embedder or everything=True")
    for name, (what, holds) in _MUST_BE.items():
        if name in given and not holds(given[name]):
            raise ConfigError(f"{name} must be {what}, not {given[name]!r}")
    text, context = "", ""
    if "prompt" in given:
        question = read_prompt(given["prompt"])
        if isinstance(question, Bypass):
            raise ContractError(f"the prompt cannot be cached: {question.value}")
        text, context = entry.prompt_digest(question.text), question.context
    age = given.get("older_than_seconds")
    return Selection(
        by=next(by for name, by in _BY.items() if name in given),
        scope=scope_digest(Scope.of(given.get("scope")), context) if "scope" in given or text else "",
        text=text,
        tenant=tenant_digest(given.get("tenant", "")),
        before_us=0 if age is None else time.time_ns() // 1_000 - round(age * 1e6),
        embedder=given.get("embedder", ""),
    )


def sweep(namespace: str, which: Selection, done: Invalidated, *, dry_run: bool = False) -> Flow[Invalidated]:
    """Go through one page of the entries and return how far it has come; call it until it is ``finished``.

    Local replicas are told. An entry that is written while the page is read may stay.

    Raises:
        StoreUnavailableError: the server does not answer, or refuses.
    """
    check_namespace(namespace)
    cursor, keys = yield from _page(namespace, which, done.cursor)
    names = (yield from _narrow(keys, which)) if which.tenant or which.before_us else keys
    removed = 0
    if not dry_run:
        for embedder, group in groupby(sorted(names), key=lambda name: name.split(":")[2]):
            removed += yield from remove(list(group), CacheKeys(namespace, embedder))
    return replace(done, matched=done.matched + len(names), removed=done.removed + removed, cursor=cursor)


def _page(namespace: str, which: Selection, cursor: str) -> Flow[tuple[str, list[str]]]:
    """Return the next cursor, and keys that may be selected; a single entry is found by its key without a scan."""
    if which.text and which.scope:
        known = yield from registry.registered(namespace)
        ids = [which.embedder] if which.embedder else [one.id for one in known]
        keys = [CacheKeys(namespace, one).entry(which.scope, which.text) for one in ids]
        there = (yield Send(tuple(("EXISTS", key) for key in keys), "invalidate")) if keys else []
        return "", [key for key, reply in zip(keys, there, strict=True) if reply == 1]
    embedder = which.embedder or _ANY_EMBEDDER
    pattern = f"nearhit:{namespace}:{embedder}:e:{which.scope or '*'}{':*' if which.scope else ''}"
    ahead, found = yield from keyspace.page(pattern, cursor, _PAGE, "invalidate")
    return ahead, [key.decode() for key in found]


def _narrow(keys: list[str], which: Selection) -> Flow[list[str]]:
    """Return the keys whose entries are of the tenant and old enough."""
    commands = tuple(("HMGET", key, entry.TENANT, entry.CREATED) for key in keys)
    replies = (yield Send(commands, "invalidate")) if commands else []
    kept = []
    for key, reply in zip(keys, replies, strict=True):
        if isinstance(reply, ReplyError) or reply[1] is None:
            continue  # not an entry, or gone meanwhile
        of_tenant = not which.tenant or reply[0] == which.tenant.encode()
        if of_tenant and (not which.before_us or whole(reply[1]) < which.before_us):
            kept.append(key)
    return kept
