"""Embedding server: a real HTTP server on loopback, an OpenAI-compatible provider, well-behaved or broken."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np

from nearhit.testing import HashEmbedder
from tests.support.llm_clients import close_llm_clients

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

DIMENSION = 32
Request = dict[str, Any]
Reply = tuple[int, Any, dict[str, str]]


def vectors_for(texts: list[str], dimension: int = DIMENSION) -> list[list[float]]:
    """Return what the well-behaved server gives for ``texts``; rows of length three."""
    rows: list[list[float]] = (3 * HashEmbedder(dimension).embed(texts, 1.0).vectors).tolist()
    return rows


def reply_to(request: Request, rows: list[Any] | None = None) -> Reply:
    """Return a well-formed answer: encoded as asked for, last text first, five tokens a text."""
    texts = request["input"]
    rows = vectors_for(texts) if rows is None else rows
    if request.get("encoding_format") == "base64":
        rows = [base64.b64encode(np.array(row, dtype="<f4").tobytes()).decode() for row in rows]
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    usage = {"prompt_tokens": 5 * len(texts), "total_tokens": 5 * len(texts)}
    return 200, {"object": "list", "data": data[::-1], "model": request["model"], "usage": usage}, {}


def refusal(status: int, headers: Mapping[str, str] | None = None) -> Callable[[Request], Reply]:
    """Return a behaviour that answers every request with ``status``."""
    return lambda _: (
        status,
        {"error": {"message": f"refused with {status}", "type": "test"}},
        dict(headers or {}),
    )


class EmbeddingServer:
    """The server; ``behave`` says how it answers, ``requests`` and ``connections`` are what it got."""

    def __init__(self) -> None:
        self.behave: Callable[[Request], Reply] = reply_to
        self.requests: list[Request] = []
        self.connections = 0
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(request)
                status, body, headers = outer.behave(request)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                try:
                    self.send_response(status)
                    for name, value in {"content-type": "application/json", **headers}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # the client has stopped waiting
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
                """Keep the test output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> EmbeddingServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        close_llm_clients()
        self._server.shutdown()
        self._server.server_close()

    def hang(self, request: Request) -> Reply:
        """Behave as a dead endpoint: hold the request until the test ends."""
        self.released.wait(20)
        return reply_to(request)

    def reset(self) -> None:
        """Behave well again and forget the requests."""
        self.released.set()
        self.released = threading.Event()
        self.behave = reply_to
        self.requests = []
