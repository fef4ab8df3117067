"""Log: what tests ask of a fill log and of a worker that empties it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import Metrics
from nearhit.flow.runner import run_sends
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_for
from nearhit.write import dead_letters
from nearhit.write.fill_log import GROUP

if TYPE_CHECKING:
    from nearhit.settings import Settings
    from tests.support.embedding_server import EmbeddingServer


def hashed(made: Settings, **changes: Any) -> Runtime:
    """Return a worker's runtime with the hash embedder."""
    return Runtime(made, Metrics(namespace=made.namespace), **changes)


def run(link_server: ValkeyServer, flow: Any) -> Any:
    """Drive a flow that sends only."""
    link = link_for(link_server.client())
    try:
        return run_sends(flow, link, 5.0)
    finally:
        link.close()


def letters(server: ValkeyServer, namespace: str) -> list[dead_letters.DeadLetter]:
    found: list[dead_letters.DeadLetter] = run(server, dead_letters.letters(LogKeys(namespace)))
    return found


def drained(runtime: Runtime, server: ValkeyServer, seconds: float = 20.0, lane: str = "interactive") -> None:
    """Tick until nothing is left, as a worker does."""
    keys = runtime.keys

    def empty() -> bool:
        runtime.tick(lane)
        with server.client() as client:
            return int(client.xlen(keys.log(lane)) + client.zcard(keys.retry(lane))) == 0

    wait_until(empty, seconds, "the log is empty")


def wait_until_silent(server: ValkeyServer, namespace: str, idle_ms: int, lane: str = "interactive") -> None:
    """Wait until whoever has fills in work was silent for so long that another worker may claim them."""

    def silent() -> bool:
        with server.client() as client:
            rows = client.xpending_range(LogKeys(namespace).log(lane), GROUP, "-", "+", 100)
        return all(row["time_since_delivered"] >= idle_ms for row in rows)

    wait_until(silent, 10, f"fills in work were left alone for {idle_ms} ms")


def prompts_in(server: ValkeyServer, namespace: str) -> dict[str, str]:
    with server.client() as client:
        rows = [client.hgetall(name) for name in client.scan_iter(f"nearhit:{namespace}:*:e:*")]
    return {row[b"prompt"].decode(): json.loads(row[b"response"]) for row in rows}


def texts_asked(endpoint: EmbeddingServer) -> list[list[str]]:
    """Return the calls that embedded questions; the probe of the embedder is not one."""
    return [one["input"] for one in endpoint.requests if any("question" in text for text in one["input"])]
