"""Thresholds: reads and changes the thresholds of running processes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.domain.threshold_table import (
    NAMESPACE,
    SETTINGS,
    ThresholdEntry,
    check_bounds,
    readable,
    scope_field,
    tenant_field,
)
from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.flow.runner import run_sends
from nearhit.read import threshold_store
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_to
from nearhit.verification import samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.flow.steps import Flow
    from nearhit.settings import Settings

T = TypeVar("T")

_SECONDS = 5.0
_TRIES = 10


class Thresholds:
    """Reads and changes the thresholds of a namespace; every running process applies them within seconds.

    A scope's own threshold goes before its tenant's, that before the namespace's, and that before the setting.
    Blocking: from asyncio, call it in a thread. A context manager.

    Args:
        settings: where the log's server is, which namespace, and the floor below which nothing may be set.
    """

    def __init__(self, settings: Settings) -> None:
        self._keys = LogKeys(settings.namespace)
        self._floor = settings.lowest_threshold
        self._configured = settings.threshold
        self._window_ms = round(settings.verify_window_seconds * 1000)
        self._link = link_to(settings.log_server())

    def entries(self) -> list[ThresholdEntry]:
        """Return what is set now, the namespace's first; what no reader would understand is left out.

        Raises:
            StoreUnavailableError: the log's server does not answer.
        """
        found = readable(self._run(threshold_store.rows(self._keys)))
        return [found[field] for field in sorted(found)]

    def in_force(self, scope: Scope | Mapping[str, Any] | None = None) -> ThresholdEntry:
        """Return the threshold by which processes with these settings judge lookups of ``scope``.

        Its ``field`` is ``settings`` where no entry concerns the scope.

        Raises:
            ContractError: the scope has no canonical form.
            StoreUnavailableError: the log's server does not answer.
        """
        who = Scope.of(scope)
        found = {one.field: one for one in self.entries()}
        fields = (scope_field(scope_digest(who)), tenant_field(tenant_digest(who.tenant)), NAMESPACE)
        entry = next((found[field] for field in fields if field in found), None)
        if entry is None:
            return ThresholdEntry(SETTINGS, self._configured)
        return replace(entry, threshold=max(entry.threshold, self._floor))

    def set(
        self,
        threshold: float,
        *,
        scope: Scope | Mapping[str, Any] | None = None,
        tenant: str = "",
        who: str = "",
        why: str = "",
    ) -> ThresholdEntry:
        """Set the threshold of a scope, of a tenant, or of the whole namespace where neither is given.

        Args:
            threshold: similarity from which a neighbour may answer; at least the floor.
            scope: one scope, as lookups name it; of a chat with other messages before the question,
                ``Scope.from_digest(miss.scope)``.
            tenant: all scopes of a tenant that have no threshold of their own.
            who: who sets it.
            why: in words, for those who wonder later.

        Raises:
            ConfigError: it is no similarity or below the floor, scope and tenant are both given, or there are too many.
            ContractError: the scope has no canonical form.
            StoreUnavailableError: the log's server does not answer.
        """
        value = check_bounds(threshold, self._floor)
        field, about = _named(scope, tenant)
        for _ in range(_TRIES):
            blob = self._run(threshold_store.rows(self._keys)).get(field)
            there = readable({field: blob or b""}).get(field)
            now_ms = time.time_ns() // 1_000_000
            entry = ThresholdEntry(field, value, who, now_ms, why, there.threshold if there else None, about)
            if self._run(threshold_store.change(self._keys, entry, blob)):
                return entry
        raise StoreUnavailableError(f"{self._keys.thresholds} is changed by others all the time")

    def unset(self, *, scope: Scope | Mapping[str, Any] | None = None, tenant: str = "") -> bool:
        """Remove what ``set`` or verification has set for the same scope or tenant; return whether there was one.

        Verification then starts again: earlier wrong hits no longer count.

        Raises:
            ConfigError: scope and tenant are both given.
            ContractError: the scope has no canonical form.
            StoreUnavailableError: the log's server does not answer.
        """
        field = _named(scope, tenant)[0]
        removed = bool(self._run(threshold_store.remove(self._keys, field)))
        if removed and field == NAMESPACE:  # else what has raised it would raise it again at once
            self._run(samples.begin_anew(self._keys, self._window_ms))
        return removed

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        return run_sends(flow, self._link, _SECONDS)


def _named(scope: Scope | Mapping[str, Any] | None, tenant: str) -> tuple[str, str]:
    """Return the field for a scope or a tenant, and how people call it."""
    if scope is not None and tenant:
        raise ConfigError("a threshold is for a scope or for a tenant, not for both: name the tenant in the scope")
    if scope is not None:
        whole = Scope.of(scope)
        named = {"tenant": whole.tenant, "model": whole.model, "digest": whole.digest}
        return scope_field(scope_digest(whole)), ", ".join(f"{name} {text}" for name, text in named.items() if text)
    if tenant:
        return tenant_field(tenant_digest(tenant)), f"tenant {tenant}"
    return NAMESPACE, "the namespace"
