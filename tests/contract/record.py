"""Record: holds every scenario with a real server and writes down what was said, byte for byte.

Run ``python -m tests.contract.record`` with NEARHIT_TEST_SEARCH_MODULE set; it rewrites ``recordings/``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from nearhit_worker.stack import ValkeyServer

from nearhit import Metrics
from nearhit.errors import NearhitError
from nearhit.flow.gate import Gate
from nearhit.flow.runner import Runner
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.valkey.link import link_for
from tests.contract.scenarios import EMBEDDER, PASSWORD, SCENARIOS, Scenario
from tests.contract.wire import Listener, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.wire import Words

FOLDER = Path(__file__).parent / "recordings"
PROTOCOLS = (2, 3)


def file_of(name: str, protocol: int) -> Path:
    """Return where a scenario's recording is."""
    return FOLDER / f"resp{protocol}" / f"{name.replace(' ', '-')}.json"


def gate() -> Gate:
    """Return a gate whose breakers stay closed."""
    return Gate(CircuitBreaker(sys.maxsize), CircuitBreaker(sys.maxsize), Metrics(), "read")


def client_options(scenario: Scenario, protocol: int, port: int) -> dict[str, Any]:
    """Return how a client of a scenario connects."""
    who = {"username": scenario.user, "password": PASSWORD} if scenario.user else {}
    return {"host": "127.0.0.1", "port": port, "protocol": protocol, "socket_timeout": 30, **who}


def record(scenario: Scenario, protocol: int, server: ValkeyServer) -> list[dict[str, str]]:
    """Return what was said in a scenario, its outcome checked."""
    with server.client() as client:
        client.flushall()
        for index in _indexes(client, scenario):
            client.execute_command("FT.DROPINDEX", index)
        scenario.before(client)
    said: list[dict[str, str]] = []
    upstreams: list[Upstream] = []

    def converse() -> Callable[[Words, bytes], bytes]:
        upstream = Upstream(server.port)
        upstreams.append(upstream)

        def answer(words: Words, raw: bytes) -> bytes:
            reply = upstream.ask(raw)
            said.append({"command": words[0].decode(), "request": raw.hex(), "reply": reply.hex()})
            return reply

        return answer

    with Listener(converse) as proxy:
        link = link_for(redis.Redis(**client_options(scenario, protocol, proxy.port)))
        outcome: Any
        try:
            outcome = Runner(link, EMBEDDER, gate()).run(scenario.flow(), 60)
        except NearhitError as error:
            outcome = type(error)
            said.append({"error": str(error)})
        link.close()
    for one in upstreams:
        one.close()
    if outcome != scenario.outcome:
        raise SystemExit(f"the outcome is {outcome!r}, expected {scenario.outcome!r}; {said[-1]}")
    return [one for one in said if "request" in one]


def _indexes(client: redis.Redis, scenario: Scenario) -> list[bytes]:
    return list(client.execute_command("FT._LIST")) if scenario.server == "search" else []


def main() -> None:
    """Record all scenarios under both protocols."""
    module = os.environ.get("NEARHIT_TEST_SEARCH_MODULE", "")
    if not module:
        raise SystemExit("set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    with tempfile.TemporaryDirectory() as folder:
        plain = ValkeyServer(Path(folder) / "plain")
        search = ValkeyServer(Path(folder) / "search", module=module)
        with plain, search:
            servers = {"plain": plain, "search": search}
            for name, scenario in SCENARIOS.items():
                for protocol in PROTOCOLS:
                    said = record(scenario, protocol, servers[scenario.server])
                    path = file_of(name, protocol)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(said, indent=0) + "\n")
                    sys.stdout.write(f"{path.relative_to(FOLDER)}: {len(said)} exchanges\n")


if __name__ == "__main__":
    main()
