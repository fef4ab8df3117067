"""Cells: the surroundings in which everything is killed and stopped, each a row of the matrix."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nearhit_worker.stack import ValkeyServer, free_port
from redis.exceptions import MovedError

from tests.chaos.rabbit import RabbitServer, rabbitmq_program
from tests.chaos.stack import Stack
from tests.support import slow_disk
from tests.support.cluster import join
from tests.support.slow_disk import SlowDiskServer
from tests.support.tls import Tls

if TYPE_CHECKING:
    from pathlib import Path

NODES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination of parts.

    Attributes:
        name: short, for the command line.
        engine: ``local`` or ``valkey-search``.
        pool: ``threads`` or ``prefork``.
        broker: ``valkey``, a server of its own, or ``rabbitmq``.
        cluster: the log lives on a cluster of three nodes.
        tls: every Valkey server is reached through TLS.
        fsync_seconds: how much longer an fsync of the log's server takes.
        durability: of those who fill.
        appendfsync: of the log's server.
    """

    name: str
    engine: str = "local"
    pool: str = "threads"
    broker: str = "valkey"
    cluster: bool = False
    tls: bool = False
    fsync_seconds: float = 0.0
    durability: str = "write"
    appendfsync: str = "everysec"

    def __str__(self) -> str:
        parts = [f"{self.engine}, {self.pool}"]
        parts += ["RabbitMQ"] if self.broker == "rabbitmq" else []
        parts += ["log on a cluster"] if self.cluster else []
        parts += ["TLS"] if self.tls else []
        parts += [f"fsync takes {self.fsync_seconds:g} s"] if self.fsync_seconds else []
        return ", ".join(parts)

    @property
    def may_lose(self) -> bool:
        """Whether a killed log server may lose what it accepted in its last seconds."""
        return self.durability == "write" and self.appendfsync == "everysec"

    def missing(self, module: str) -> str:
        """Return what this machine lacks for it; empty for nothing."""
        if self.engine == "valkey-search" and not module:
            return "no search module: set NEARHIT_TEST_SEARCH_MODULE"
        if self.broker == "rabbitmq" and rabbitmq_program() is None:
            return "no rabbitmq-server on this machine"
        if self.tls and shutil.which("openssl") is None:
            return "no openssl: no certificate can be made"
        return slow_disk.missing() if self.fsync_seconds else ""


CELLS = (
    Cell(name="local-threads"),
    Cell(name="local-prefork", pool="prefork"),
    Cell(name="search-threads", engine="valkey-search"),
    Cell(name="search-prefork", engine="valkey-search", pool="prefork"),
    Cell(name="rabbitmq", pool="prefork", broker="rabbitmq"),
    Cell(name="cluster", cluster=True),
    Cell(name="tls", tls=True),
    Cell(name="always", appendfsync="always"),
    Cell(name="slow-write", fsync_seconds=0.8),
    Cell(name="slow-fsync", fsync_seconds=0.8, durability="fsync"),
)


class CellStack(Stack):
    """The servers and workers of a cell. The cache server syncs every write, so that a loss is the log's.

    Args:
        folder: where everything is kept.
        cell: which combination.
        module: path of the search module.
    """

    def __init__(self, folder: Path, cell: Cell, module: str = "") -> None:
        slow = {"enqueue_deadline_ms": 5_000} if cell.durability == "fsync" else {}
        super().__init__(folder, engine=cell.engine, durability=cell.durability, **slow)
        self.cell = cell
        loaded = module if cell.engine == "valkey-search" else ""
        self.cache_server = ValkeyServer(folder / "cache", durable=True, appendfsync="always", module=loaded)
        self.nodes = self._make_nodes()
        self.log_server = self.nodes[0]
        self.broker: ValkeyServer | RabbitServer = ValkeyServer(folder / "broker", durable=True)
        if cell.broker == "rabbitmq":
            self.broker = RabbitServer(folder / "rabbit")
        self._fronts: dict[str, Tls] = {}

    @property
    def variables(self) -> dict[str, str]:
        """The environment of workers and of those who fill."""
        log = f"valkey+cluster://127.0.0.1:{self.nodes[0].port}" if self.cell.cluster else self.log_server.url
        broker = self.broker.url.replace("valkey://", "redis://")
        cache = self.cache_server.url
        if self.cell.tls:
            cache, log, broker = (self._front(name) for name in ("cache", "log", "broker"))
        urls = {"NEARHIT_URL": cache, "NEARHIT_LOG_URL": log, "NEARHIT_BROKER_URL": broker}
        return {**super().variables, **urls, "NEARHIT_DEADLINE_MS": "5000"}

    def start(self) -> Self:
        """Start the servers."""
        try:
            self._start_servers()
        except BaseException:
            self.stop()
            raise
        return self

    def _start_servers(self) -> None:
        self.cache_server.start()
        for node in self.nodes:
            node.start()
        if self.cell.cluster:
            join(self.nodes, self._buses)
            self.log_server = self._home()
        self.broker.start()
        if self.cell.tls:
            for name, server in (("cache", self.cache_server), ("log", self.log_server), ("broker", self.broker)):
                (self.folder / f"tls-{name}").mkdir()
                self._fronts[name] = Tls(server.port, self.folder / f"tls-{name}")

    def stop(self) -> None:
        """Stop everything."""
        super().stop()
        for node in self.nodes:
            node.stop()
        self.broker.__exit__(None, None, None)
        for front in self._fronts.values():
            front.close()

    def _make_nodes(self) -> list[ValkeyServer]:
        cell, folder = self.cell, self.folder
        if cell.fsync_seconds:
            slow = SlowDiskServer(folder / "log", durable=True, appendfsync=cell.appendfsync)
            slow.fsync_seconds = cell.fsync_seconds
            return [slow]
        if not cell.cluster:
            return [ValkeyServer(folder / "log", durable=True, appendfsync=cell.appendfsync)]
        self._buses = [free_port() for _ in range(NODES)]
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port")
        return [
            ValkeyServer(folder / f"log{bus}", durable=True, appendfsync=cell.appendfsync, options=(*options, str(bus)))
            for bus in self._buses
        ]

    def _home(self) -> ValkeyServer:
        """Return the node that has the namespace's log."""
        for node in self.nodes:
            with node.client() as client, suppress(MovedError):
                client.exists(f"{{{self.namespace}}}")
                return node
        raise LookupError("no node has the slot")

    def _front(self, name: str) -> str:
        scheme = "rediss" if name == "broker" else "valkeys"
        return f"{scheme}://127.0.0.1:{self._fronts[name].port}/0?ssl_ca_certs={self._fronts[name].ca}"
