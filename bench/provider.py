"""Provider: an OpenAI-compatible embedding endpoint on loopback that takes a fixed time for every call."""

from __future__ import annotations

import base64
import json
import threading
import time
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.corpus import DIMENSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


class Provider:
    """The endpoint, within a block.

    Args:
        seconds: how long a call takes, however many texts it brings.
    """

    def __init__(self, seconds: float) -> None:
        self.calls = 0
        self.at_once = 0
        """The most calls that were answered at one time."""
        self._running = 0
        self._lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with provider.call():
                    time.sleep(seconds)
                content = json.dumps(_reply(asked)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
                """Keep the output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.environment = {
            "OPENAI_API_BASE": f"http://127.0.0.1:{self._server.server_port}/v1",
            "OPENAI_API_KEY": "none",
        }

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a call while it runs."""
        with self._lock:
            self.calls += 1
            self._running += 1
            self.at_once = max(self.at_once, self._running)
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    def __enter__(self) -> Provider:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _reply(asked: dict[str, Any]) -> dict[str, Any]:
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    rows = [_vector(text) for text in texts]
    if asked.get("encoding_format") == "base64":
        shown: list[Any] = [base64.b64encode(row.tobytes()).decode() for row in rows]
    else:
        shown = [row.tolist() for row in rows]
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(shown)]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return {"object": "list", "data": data, "model": asked["model"], "usage": usage}


def _vector(text: str) -> Any:
    row = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMENSION)
    return (row / np.linalg.norm(row)).astype("<f4")
