"""Cluster: makes one of running servers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from nearhit_worker.stack import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit_worker.stack import ValkeyServer

_SLOTS = 16_384


def join(nodes: Sequence[ValkeyServer], bus_ports: Sequence[int] = ()) -> None:
    """Share all slots among servers that were started with ``--cluster-enabled yes``, and wait until each knows it.

    Args:
        nodes: all of them become primaries.
        bus_ports: where they talk to each other; empty takes the default, 10,000 above each port.
    """
    with ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in nodes]
        for at, client in enumerate(clients):
            first, last = (_SLOTS * place // len(nodes) for place in (at, at + 1))
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for at, node in enumerate(nodes[1:], start=1):
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, *bus_ports[at : at + 1])

        def joined() -> bool:
            states = [client.cluster("INFO") for client in clients]
            known = str(len(nodes))
            return all(one["cluster_state"] == "ok" and one["cluster_known_nodes"] == known for one in states)

        wait_until(joined, 30, "the cluster to come together")
