"""Sentinels: a primary, its replica, and three real sentinels that watch them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import redis
from nearhit_worker.stack import Child, ValkeyServer, free_port, server_program, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = "main"
PASSWORD = "s3/cret"
DOWN_MS = 1_000
"""How long a server may be silent before a sentinel calls it down."""


class Sentinels:
    """Two servers and three sentinels on free ports of 127.0.0.1, there for the length of a block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        options = ("--repl-diskless-sync-delay", "0", "--requirepass", PASSWORD, "--primaryauth", PASSWORD)
        self.servers = [_Guarded(folder / f"server{n}", durable=True, options=options) for n in range(2)]
        self.ports = [free_port() for _ in range(3)]
        self.url = (
            f"valkey+sentinel://:{PASSWORD.replace('/', '%2F')}@"
            + ",".join(f"127.0.0.1:{port}" for port in self.ports)
            + f"/{SERVICE}"
        )

    @property
    def primary(self) -> ValkeyServer:
        """The server that the sentinels call the primary."""
        with redis.Redis(port=self.ports[0], socket_timeout=2) as client:
            found = client.sentinel_get_master_addr_by_name(SERVICE)
        assert found is not None
        return next(server for server in self.servers if server.port == int(found[1]))

    def __enter__(self) -> Self:
        first, second = (self._stack.enter_context(server) for server in self.servers)
        with second.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", first.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica follows")
        for port in self.ports:
            self._stack.callback(self._start(port, first.port).kill)
        wait_until(self._agreed, 30, "the sentinels know each other and the replica")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, port: int, primary: int) -> Child:
        folder = self._folder / f"sentinel{port}"
        folder.mkdir(parents=True)
        (folder / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\nsentinel auth-pass {SERVICE} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}\nsentinel failover-timeout {SERVICE} 6000\n"
        )
        return Child("sentinel", [server_program(), str(folder / "sentinel.conf"), "--sentinel"], folder)

    def _agreed(self) -> bool:
        for port in self.ports:
            try:
                with redis.Redis(port=port, socket_timeout=2) as client:
                    seen = client.sentinel_master(SERVICE)
            except redis.RedisError:
                return False
            if (seen["num-other-sentinels"], seen["num-slaves"]) != (2, 1):
                return False
        return True


class _Guarded(ValkeyServer):
    """A server that asks for the password."""

    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=10, password=PASSWORD)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
