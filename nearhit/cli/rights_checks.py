"""Rights checks: what the doctor says of the rights of the users in the urls, by trying them without any effect."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from nearhit.cli.finding import Finding, failed, passed, warned
from nearhit.cli.servers import Ask
from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.valkey import key_names, rights
from nearhit.valkey.server import Server
from nearhit.write.wakeup import queue_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.settings import Settings


def check_cache_rights(settings: Settings, *, search: bool) -> Finding:
    """Return which rights the user lacks on the cache server.

    Args:
        settings: where it is.
        search: its search module is used.
    """
    prefix = settings.shared_index or f"nearhit:{settings.namespace}"
    entry = f"{prefix}:trial"
    patterns = {entry: f"{prefix}:*" if settings.shared_index else "nearhit:*", key_names.lease(entry): "nearhit:*"}
    servers = (rights.CACHE, rights.SEARCH) if search else (rights.CACHE,)
    return _check("cache rights", settings.server(), servers, patterns)


def check_log_rights(settings: Settings) -> Finding:
    """Return which rights the user lacks on the log's server."""
    patterns = {key_names.LogKeys(settings.namespace).trial: "nearhit:*"}
    return _check("log rights", settings.log_server(), (rights.LOG,), patterns)


def check_broker_rights(settings: Settings) -> Finding:
    """Return which rights the user lacks on a broker that is a Valkey server."""
    try:
        server = Server(url=settings.broker_url) if settings.broker_url else settings.log_server()
    except ConfigError:  # kombu takes more kinds of urls: lists of servers, and its own for unix sockets and sentinels
        return passed("broker rights", "not tried with this kind of broker url")
    queue = queue_name(settings.namespace, "interactive")
    patterns = {queue: "nearhit-*", f"_kombu.binding.{queue}": "_kombu.binding*.nearhit-*", "unacked_index": "unacked*"}
    return _check("broker rights", server, (rights.BROKER,), patterns)


def _check(name: str, server: Server, parts: tuple[str, ...], patterns: Mapping[str, str]) -> Finding:
    if server.is_cluster:
        return passed(name, "not tried on a cluster")
    try:
        return _tried(name, server, parts, patterns)
    except StoreUnavailableError as error:  # a replica refuses writes before it looks at rights
        return warned(name, f"cannot be tried: {error}", "see the lines above")


def _tried(name: str, server: Server, parts: tuple[str, ...], patterns: Mapping[str, str]) -> Finding:
    part = name.removesuffix(" rights")
    lacks = {role: _lacks(Ask(server, part), parts, role, patterns) for role in (rights.APPLICATION, rights.WORKER)}
    user = server.username or unquote(urlsplit(server.url).username or "") or "default"
    worker = f"ACL SETUSER {user} {' '.join(lacks[rights.WORKER])} (docs/operations.md, Rights)"
    if lacks[rights.APPLICATION]:
        return failed(name, f"the user {user} lacks {', '.join(lacks[rights.WORKER])}", worker)
    if lacks[rights.WORKER]:
        text = (
            f"the user {user} has all rights of an application; a worker needs {', '.join(lacks[rights.WORKER])}, too"
        )
        return warned(name, text, f"if workers use it: {worker}")
    return passed(name, f"the user {user} has all rights of a worker")


def _lacks(own: Ask, parts: tuple[str, ...], role: str, patterns: Mapping[str, str]) -> list[str]:
    recipes = [rights.recipe(one, role) for one in parts]
    keys = [key for key, pattern in patterns.items() if role == rights.WORKER or pattern in recipes[0].keys]
    # a connection of its own: where EXEC is refused, it stays within the transaction
    with closing(own) as ask:
        for samples in ((), [sample for one in recipes for sample in one.commands]):
            commands = rights.trial(samples, keys)
            if lacks := rights.missing(commands, ask.send(commands), patterns):
                break  # without a transaction the samples would be run, and nothing more is tried
    return lacks
