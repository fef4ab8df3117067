"""Telemetry: /metrics and /health of a process over HTTP."""

from __future__ import annotations

import errno
import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector

from nearhit.errors import ConfigError
from nearhit.telemetry.exposition import expose

if TYPE_CHECKING:
    from collections.abc import Callable

_CLIENT_SECONDS = 10.0
"""How long a client may take over its request: a silent one must not hold a thread forever."""

_REASONS = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "that port is for root alone",
}


class TelemetryServer:
    """Serves ``/metrics``, ``/health/live`` and ``/health/ready`` from threads of its own.

    Args:
        registry: what to expose, with this process's memory and times; all processes' with
            ``PROMETHEUS_MULTIPROC_DIR``, see ``exposition``.
        health: gives whether the process is live and ready, with details for people.
        host: address to listen on.
        port: 0 takes a free one; see ``port``.

    Raises:
        ConfigError: it cannot listen there; the message says why and which settings to change.
    """

    def __init__(self, registry: CollectorRegistry, health: Callable[[], dict[str, Any]], host: str, port: int) -> None:
        about = {
            "registry": registry,
            "health": staticmethod(health),
            "process": ProcessCollector(registry=None),
        }
        self._server = _listening(host, port, type("Handler", (_Handler,), about))
        self._thread = threading.Thread(target=self._server.serve_forever, name="nearhit-telemetry", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to answer and give the port back."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the name lookup of the standard library, which takes seconds where there is no DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


def check_address(host: str, port: int) -> None:
    """Return when a server could listen there now.

    Raises:
        ConfigError: it cannot; the message says why and which settings to change.
    """
    _listening(host, port, BaseHTTPRequestHandler).server_close()


def _listening(host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> _Server:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind: type[_Server] = type("Server", (_Server,), {"address_family": family})
    try:
        return kind((host, port), handler)
    except OSError as error:
        why = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise ConfigError(
            f"/metrics cannot listen on {host}:{port}: {why}; change NEARHIT_METRICS_HOST or NEARHIT_METRICS_PORT "
            "(--metrics-port)"
        ) from error


class _Handler(BaseHTTPRequestHandler):
    timeout = _CLIENT_SECONDS
    registry: CollectorRegistry
    health: Callable[[], dict[str, Any]]
    process: ProcessCollector

    def do_GET(self) -> None:
        """Answer a scrape or a probe."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            kind, body = expose(self.registry, self.headers.get("Accept", ""), [self.process])
            self._answer(HTTPStatus.OK, kind, body)
        elif path in {"/health", "/health/ready", "/health/live"}:
            state = self.health()
            good = state["live"] if path.endswith("live") else state["ready"]
            status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "application/json", json.dumps(state).encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"try /metrics or /health\n")

    def do_HEAD(self) -> None:
        """Answer as to GET, without the body."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Keep scrapes out of the log."""

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
