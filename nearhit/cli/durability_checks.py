"""Durability checks: what accepted fills survive with the log server's configuration."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nearhit.cli.finding import Finding, failed, passed, warned
from nearhit.errors import ConfigError
from nearhit.valkey.durability import FSYNC, check_trial, trial_commands

if TYPE_CHECKING:
    from nearhit.cli.servers import Ask, Servers

CHECK = "log durability"
_TRIALS = 3
_TRIAL_SECONDS = 4.0

_SYNCS_SECONDS = 0.9
"""Where the server syncs once a second, three writes in a row that are confirmed sooner were not synced each."""

_LOSS = {
    ("write", "always"): "a fill is on the disk before it is accepted",
    ("write", "everysec"): (
        "synced every second: a killed server loses what it had not written while an fsync was slow, up to 2 s of "
        "accepted fills; a machine that fails loses them in any case"
    ),
    ("write", "no"): "never synced: a machine that fails loses what its kernel had not written",
    (FSYNC, "always"): "a fill is on the disk before it is accepted",
    (FSYNC, "everysec"): "synced every second: a fill is accepted after that",
}


def check_durability(servers: Servers, info: dict[str, str]) -> Finding:
    """Return what an accepted fill survives, from ``durability`` and from what the log's server says of itself."""
    settings, ask = servers.settings, servers.log
    if "aof_enabled" not in info:
        return warned(CHECK, "the server does not tell", "let the user run INFO")
    if info["aof_enabled"] != "1":
        text = f"durability {settings.durability}, append-only file off"
        advice = "CONFIG SET appendonly yes on the log's server: "
        if settings.durability == FSYNC:
            return failed(CHECK, text, f"{advice}until then no fill is accepted")
        return warned(CHECK, text, f"{advice}without it a restart loses the fills in the log")
    how = _option(ask, "appendfsync")
    text = f"durability {settings.durability}, append-only file on"
    if how:
        text += f", appendfsync {how}"
    skips = _option(ask, "no-appendfsync-on-rewrite") == "yes"
    if skips:
        text += ", no-appendfsync-on-rewrite yes"
    loss = _LOSS.get((settings.durability, how), "")
    if settings.durability == FSYNC:
        return try_confirming(servers, f"{text}: {loss}" if loss else text, how)
    text = f"{text}: {loss}" if loss else text
    if skips:
        advice = "CONFIG SET no-appendfsync-on-rewrite no on the log's server: nothing is synced during a rewrite now"
        return warned(CHECK, text, advice)
    return passed(CHECK, text)


def try_confirming(servers: Servers, text: str, how: str) -> Finding:
    """Return what trials show: whether the server confirms at all, how soon, and whether it had synced by then."""
    deadline_ms = servers.settings.enqueue_deadline_ms
    started, slowest_ms = time.monotonic(), 0.0
    for _ in range(_TRIALS):
        before = time.monotonic()
        replies = servers.log.send(trial_commands(servers.keys, _TRIAL_SECONDS))
        try:
            check_trial(servers.keys, replies, _TRIAL_SECONDS)
        except ConfigError as error:
            return failed(CHECK, f"{text}; {error}", "no fill is accepted until then")
        slowest_ms = max(slowest_ms, (time.monotonic() - before) * 1000)
    text += f"; confirmed within {slowest_ms:.0f} ms"
    if how == "everysec" and time.monotonic() - started < _SYNCS_SECONDS:
        advice = (
            "CONFIG SET appendfsync always, if a machine that fails must lose nothing: this server's WAITAOF answers "
            "under everysec when a fill is written, before it is synced (Valkey 9.1 and others)"
        )
        return warned(CHECK, text, advice)
    if slowest_ms > deadline_ms:
        advice = (
            f"set NEARHIT_ENQUEUE_DEADLINE_MS above {slowest_ms:.0f}, or appendfsync to always: within {deadline_ms} "
            "ms most fills are spooled, not accepted"
        )
        return warned(CHECK, text, advice)
    return passed(CHECK, text)


def _option(ask: Ask, name: str) -> str:
    """Return an option of the server; empty where the user may not see it."""
    reply = ask("CONFIG", "GET", name)
    pairs = reply if isinstance(reply, dict) else {}
    if isinstance(reply, list) and len(reply) == 2:
        pairs = {reply[0]: reply[1]}
    value = pairs.get(name.encode(), b"")
    return value.decode() if isinstance(value, bytes) else str(value)
