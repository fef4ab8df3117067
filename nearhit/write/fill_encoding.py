"""Fill encoding: from an answer and its options to the message of a fill."""

from __future__ import annotations

import base64
import random
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from msgspec import structs

from nearhit.domain import entry, fill_message, vectors
from nearhit.domain.entry import Usage
from nearhit.domain.fill_message import SCOPE_DIGITS
from nearhit.domain.outcome import Miss, MissReason
from nearhit.domain.question import Question, read_question
from nearhit.domain.scope import Scope
from nearhit.errors import ConfigError, EntryError
from nearhit.telemetry.metrics import LANES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.domain.hit_policy import Lifetimes


class FillOptions(TypedDict, total=False):
    """What may be said with an answer.

    Attributes:
        ttl_seconds: hard time to live; without it the setting.
        fresh_seconds: soft time to live; without it the setting.
        usage: tokens and dollars that the answer cost, counted as saved at every hit.
        refresh: how to ask the model again after the soft time to live: ``{"model": …, "messages": […]}``.
        lane: ``interactive``, or ``bulk`` for loads that must not delay users.
    """

    ttl_seconds: float
    fresh_seconds: float
    usage: Usage
    refresh: Mapping[str, Any]
    lane: str


def lane_of(options: Mapping[str, Any]) -> str:
    """Return the lane that ``options`` name.

    Raises:
        ConfigError: there is no such lane.
    """
    lane = options.get("lane", "interactive")
    if lane not in LANES:
        raise ConfigError(f"lane must be one of {', '.join(LANES)}, not {lane!r}")
    return str(lane)


def life_of(lifetimes: Lifetimes, options: Mapping[str, Any]) -> float:
    """Return how many seconds an entry lives at least that is filled with ``options``."""
    asked = options.get("ttl_seconds")
    whole = lifetimes.ttl_seconds if asked is None else asked
    return whole * (1 - lifetimes.jitter) if isinstance(whole, int | float) else 0.0


def encode_fill(lifetimes: Lifetimes, asked: Miss | Question, answer: Any, options: Mapping[str, Any]) -> bytes:
    """Return the message that puts ``answer`` into the cache.

    Raises:
        EntryError: the answer is empty, not JSON or too large.
        ConfigError: a time to live or the lane is out of range.
    """
    if answer is None or answer == "":
        raise EntryError("the answer is empty")
    unknown = set(options) - FillOptions.__annotations__.keys()
    if unknown:
        raise ConfigError(f"fill has no option {sorted(unknown)[0]!r}")
    times = {name: options[name] for name in ("ttl_seconds", "fresh_seconds") if options.get(name) is not None}
    if times:
        lifetimes = replace(lifetimes, **times)
    ttl_ms, fresh_ms = lifetimes.milliseconds(random.random())  # noqa: S311 - spreads ends, guards nothing
    refresh = options.get("refresh")
    return fill_message.encode(
        fill_message.Fill(
            scope=asked.scope,
            tenant=asked.tenant,
            prompt=asked.prompt if isinstance(asked, Miss) else asked.text,
            response=entry.encode_response(answer),
            created_us=time.time_ns() // 1000,
            ttl_ms=ttl_ms,
            fresh_ms=fresh_ms,
            embedder=asked.embedder if isinstance(asked, Miss) else "",
            embedding=asked.vector if isinstance(asked, Miss) else b"",
            usage=options.get("usage"),
            refresh=entry.encode_response(dict(refresh)) if refresh else b"",
        )
    )


def fill_of(row: Mapping[str, Any], lifetimes: Lifetimes) -> tuple[str, bytes]:
    """Return the lane and the message of a fill that is described by a mapping, as other programs send it.

    Args:
        row: ``prompt`` and ``answer``; where wanted ``scope`` and what ``FillOptions`` has, ``usage`` as a mapping.
            A scope may be named by its digest, as ``Miss.scope`` says it: ``scope_digest``, with ``tenant_digest``
            where it has a tenant, instead of ``scope``. Rows of an export do so, and may carry ``vector`` (the unit
            vector in base64) with ``embedder`` (its fingerprint).
        lifetimes: for what the row does not say.

    Raises:
        ContractError: a field is missing or unknown, or the prompt cannot be cached; the message names it.
        ConfigError: a time to live or the lane is out of range.
    """
    missing = {"prompt", "answer"} - set(row)
    if missing:
        raise EntryError(f"the row has no field {sorted(missing)[0]!r}")
    asked = read_question(row["prompt"], _scope_of(row))
    if isinstance(asked, Miss):
        raise EntryError(f"the prompt cannot be cached: {asked.reason.value} {asked.detail}".rstrip())
    if row.get("scope_digest") is not None:
        asked = structs.replace(asked, tenant=row.get("tenant_digest") or "")
    asked = _with_vector(row, asked)
    options = {name: value for name, value in row.items() if name not in _NOT_OPTIONS}
    if options.get("usage") is not None:
        try:
            options["usage"] = Usage(**options["usage"])
        except TypeError as error:
            raise EntryError(f"field 'usage' of the row cannot be read: {error}") from error
    return lane_of(options), encode_fill(lifetimes, asked, row["answer"], options)


_NOT_OPTIONS = frozenset({"prompt", "answer", "scope", "scope_digest", "tenant_digest", "vector", "embedder"})

_DIGESTS = {"scope_digest": re.compile(SCOPE_DIGITS), "tenant_digest": re.compile(r"[0-9a-f]{32}")}


def _scope_of(row: Mapping[str, Any]) -> Any:
    """Return the scope of a row, which names it in words, or by its digest as an export does.

    Raises:
        EntryError: a digest is no digest, or the scope is named both ways.
    """
    digest = row.get("scope_digest")
    if digest is None:
        return row.get("scope")
    if row.get("scope"):
        raise EntryError("the row has a field 'scope' and a field 'scope_digest', which stands for a whole scope")
    tenant = row.get("tenant_digest") or ""
    for name, value in (("scope_digest", digest), ("tenant_digest", tenant or "0" * 32)):
        if not isinstance(value, str) or not _DIGESTS[name].fullmatch(value):
            raise EntryError(f"field {name!r} of the row must be 32 hex digits, not {str(value)[:40]!r}")
    return Scope.from_digest(digest)


def _with_vector(row: Mapping[str, Any], question: Question) -> Question | Miss:
    """Return the question with the vector that the row carries, checked for being a unit vector."""
    if not row.get("vector") or not row.get("embedder"):
        return question
    try:
        blob = base64.b64decode(row["vector"], validate=True)
    except (TypeError, ValueError) as error:
        raise EntryError(f"field 'vector' of the row is not base64: {error}") from error
    unit = vectors.unit_rows(vectors.from_bytes(blob)[None, :])[0]
    return question.miss(MissReason.EMPTY, vector=vectors.to_bytes(unit), embedder=str(row["embedder"]))
