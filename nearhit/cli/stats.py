"""Stats: the command that shows what the servers hold. It asks them, so that it needs no worker and no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.command import Arguments, command
from nearhit.cli.screen import Screen, counted, mebibytes
from nearhit.cli.servers import Servers
from nearhit.flow.steps import ReplyError
from nearhit.index.litellm_layout import keys_of
from nearhit.index.opening import choose_engine
from nearhit.telemetry.metrics import LANES
from nearhit.valkey import search_protocol
from nearhit.valkey.replies import whole

if TYPE_CHECKING:
    from nearhit.embedding.registry import Registered

EXAMPLES = """
nearhit stats
nearhit stats --namespace shop --json | jq .entries
"""


@command(EXAMPLES)
@options.json_output
@options.settings(*options.SERVERS, "model", "engine", "log_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Show what the servers hold, without a worker or a model.

    That is: entries and index for each embedder, the fill log, dead letters, and the workers at work.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    with Servers(settings) as servers:
        found = collected(servers)
    screen.document(found)
    show(found, screen)
    return exits.OK


def collected(servers: Servers) -> dict[str, Any]:
    """Return everything that the command shows."""
    settings = servers.settings
    servers.cache.ping()
    engine = settings.engine if settings.engine != "auto" else servers.cache.run(choose_engine())
    embedders = [embedder(servers, record, engine) for record in servers.embedders()]
    info = servers.cache.info()
    workers = servers.workers()
    return {
        "namespace": settings.namespace,
        "server": {
            "address": servers.cache.server.label,
            "version": info.get("valkey_version") or info.get("redis_version"),
            "used_memory_bytes": int(info.get("used_memory", 0)),
            "maxmemory_bytes": int(info.get("maxmemory", 0)),
            "maxmemory_policy": info.get("maxmemory_policy"),
        },
        "engine": engine,
        "entries": sum(one["entries"] for one in embedders),
        "embedders": embedders,
        "log": {
            "address": servers.log.server.label,
            "lanes": {lane: servers.lane(lane) for lane in LANES},
            "dead_letters": servers.dead(),
            "expired": servers.expired(),
        },
        "workers": [{"name": name, "idle_seconds": round(seconds, 2)} for name, seconds in workers.items()],
    }


def embedder(servers: Servers, record: Registered, engine: str) -> dict[str, Any]:
    """Return what there is of an embedder: its model, entries and index."""
    settings = servers.settings
    known = keys_of(settings.namespace, record.id, settings.shared_index)
    there = index(servers, known, record.dimension) if engine == "valkey-search" else None
    entries = there["entries"] if there else sum(1 for _ in servers.cache.names(f"{known.prefix}*"))
    return {
        "fingerprint": known.embedder,
        "model": record.model,
        "dimension": record.dimension,
        "in_use": record.model == servers.settings.model,
        "entries": entries,
        "index": there,
    }


def index(servers: Servers, known: Any, dimension: int) -> dict[str, Any] | None:
    """Return what the server says of the index of an embedder; ``None`` where there is none."""
    generation = servers.cache("GET", known.generation)
    number = whole(generation, 1)
    reply = servers.cache(*search_protocol.info(known.index(number)))
    if isinstance(reply, ReplyError):
        return None
    there = search_protocol.parse_info(reply)
    return {
        "name": there.name,
        "generation": number,
        "dimension": dimension,
        "entries": there.documents,
        "vectors": there.vectors,
        "indexing_failures": there.indexing_failures,
        "backfilling": there.backfilling,
        "backfill_share": there.backfill_share,
    }


def show(found: dict[str, Any], screen: Screen) -> None:
    """Show what the servers hold to people."""
    server, log = found["server"], found["log"]
    limit = f" of {mebibytes(server['maxmemory_bytes'])}" if server["maxmemory_bytes"] else ""
    used = mebibytes(server["used_memory_bytes"])
    rows = [
        ("namespace", found["namespace"]),
        ("server", f"{server['address']}, version {server['version']}, {used}{limit}"),
        ("engine", found["engine"]),
        ("entries", str(found["entries"])),
    ]
    for one in found["embedders"]:
        text = f"{one['model']}, {one['dimension']} dimensions, {counted(one['entries'], 'entry', 'entries')}"
        text += f", {one['fingerprint']}"
        rows.append(("embedder", text + ("" if one["in_use"] else " (not in use)")))
        if one["index"]:
            parts = [one["index"]["name"], counted(one["index"]["vectors"], "vector")]
            parts.append(f"{one['index']['indexing_failures']} skipped")
            if one["index"]["backfilling"]:
                parts.append(f"backfilling, {one['index']['backfill_share']:.0%} read")
            rows.append(("index", ", ".join(parts)))
    for lane, depth in log["lanes"].items():
        age = f", oldest {depth['oldest_seconds']:g} s" if depth["oldest_seconds"] is not None else ""
        text = f"{counted(depth['fills'], 'fill')}, {depth['in_work']} in work"
        rows.append((f"log {lane}", f"{text}, {depth['retrying']} waiting for a retry{age}"))
    expired = counted(log["expired"], "fill")
    rows.append(("dead letters", f"{log['dead_letters']}, and {expired} expired in the log"))
    seen = [f"{one['name']} (looked {one['idle_seconds']:g} s ago)" for one in found["workers"]]
    rows.append(("workers", ", ".join(seen) or "none seen"))
    screen.pairs(rows, indent=0)
