"""Server info: asks a server about itself and reads its INFO reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nearhit.flow.steps import Flow, ask


def section(name: str) -> Flow[dict[str, str]]:
    """Return a section of INFO by name; empty where the user may not read it.

    Raises:
        StoreUnavailableError: the server does not answer.
    """
    return parse((yield from ask(("INFO", name))))


def parse(reply: Any) -> dict[str, str]:
    """Return the lines of an INFO reply by name; empty for anything else, such as an error reply.

    A loaded module is ``module:NAME`` with its version.
    """
    if isinstance(reply, Mapping):  # a cluster client has parsed it
        return {str(name): str(value) for name, value in reply.items()}
    if not isinstance(reply, bytes | str):
        return {}
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "module":
            parts = dict(part.partition("=")[::2] for part in value.split(","))
            found[f"module:{parts.get('name', '')}"] = parts.get("ver", "")
        elif value:
            found[name] = value
    return found


def run_id(about: Mapping[str, str]) -> str:
    """Return what changes with every start of a server; empty for a cluster, whose nodes all have their own."""
    clustered = "cluster" in {about.get("server_mode"), about.get("redis_mode")}
    return "" if clustered else about.get("run_id", "")
