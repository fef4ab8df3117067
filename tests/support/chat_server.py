"""An OpenAI-compatible server on loopback that answers chats, completions, responses and embeddings from a script."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from nearhit.testing import HashEmbedder
from tests.support.llm_clients import close_llm_clients

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
_EMBEDDER = HashEmbedder(64)


class ChatServer:
    """The server. ``asked`` is every request body with its path; the other attributes say how it answers.

    The n-th answer is ``answer n``, so that a test sees which request an answer came from.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.finish_reason = "stop"
        self.text: str | None = None
        self.tool_calls: list[dict[str, Any]] | None = None
        self.status = 200
        self.response_status = "completed"
        self.cut_streams = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_llm_clients()
        self._server.shutdown()
        self._server.server_close()

    @property
    def answers(self) -> int:
        """How many questions it answered, embeddings not counted."""
        return sum(not path.endswith("/embeddings") for path, _ in self.asked)

    def say(self) -> str:
        """Return the text of the answer to the newest question."""
        return f"answer {self.answers}" if self.text is None else self.text

    def reply(self, path: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any] | list[dict[str, Any]]]:
        """Return status and body; a list is a stream of events."""
        self.asked.append((path, asked))
        if self.status != 200:
            return self.status, {"error": {"message": "the server is told to fail", "type": "test"}}
        if path.endswith("/embeddings"):
            return 200, _embeddings(asked)
        if path.endswith("/chat/completions"):
            return 200, list(self._chunks()) if asked.get("stream") else self._chat()
        if path.endswith("/completions"):
            return 200, list(self._text_chunks()) if asked.get("stream") else self._text()
        return 200, list(self._events()) if asked.get("stream") else self._response()

    def _chat(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.say()}
        if self.tool_calls:
            message = {"role": "assistant", "content": None, "tool_calls": self.tool_calls}
        choice = {"index": 0, "finish_reason": self.finish_reason, "message": message}
        return {**_base("chatcmpl-1", "chat.completion"), "choices": [choice], "usage": USAGE}

    def _chunks(self) -> Iterator[dict[str, Any]]:
        base = _base("chatcmpl-1", "chat.completion.chunk")
        words = self.say().split(" ")
        for at, word in enumerate(words):
            delta: dict[str, Any] = {"content": word if at == 0 else f" {word}"}
            if at == 0:
                delta["role"] = "assistant"
            yield {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        if not self.cut_streams:
            yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish_reason}]}

    def _text(self) -> dict[str, Any]:
        choice = {"index": 0, "finish_reason": self.finish_reason, "text": self.say(), "logprobs": None}
        return {**_base("cmpl-1", "text_completion"), "choices": [choice], "usage": USAGE}

    def _text_chunks(self) -> Iterator[dict[str, Any]]:
        for text, reason in ((self.say(), None), ("", self.finish_reason)):
            choice = {"index": 0, "finish_reason": reason, "text": text, "logprobs": None}
            yield {**_base("cmpl-1", "text_completion"), "choices": [choice]}

    def _response(self) -> dict[str, Any]:
        part = {"type": "output_text", "text": self.say(), "annotations": []}
        item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1_700_000_000,
            "model": "gpt-4o-mini",
            "status": self.response_status,
            "output": [item],
            "parallel_tool_calls": True,
            "tools": [],
            "tool_choice": "auto",
            "error": None,
            "incomplete_details": None,
            "metadata": {},
            "usage": {
                "input_tokens": 11,
                "output_tokens": 7,
                "total_tokens": 18,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
        }

    def _events(self) -> Iterator[dict[str, Any]]:
        whole = self._response()
        yield {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        yield {"type": "response.output_text.delta", **place, "delta": self.say()}
        yield {"type": "response.completed", "response": whole}


def _base(name: str, kind: str) -> dict[str, Any]:
    return {"id": name, "object": kind, "created": 1_700_000_000, "model": "gpt-4o-mini"}


def _embeddings(asked: dict[str, Any]) -> dict[str, Any]:
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    rows = _EMBEDDER.embed(texts, 1.0).vectors.tolist()
    data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
    return {"object": "list", "model": asked["model"], "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _handler(server: ChatServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = server.reply(self.path, asked)
            if isinstance(body, list):
                content = "".join(f"data: {json.dumps(event)}\n\n" for event in body)
                content += "" if server.cut_streams else "data: [DONE]\n\n"
            else:
                content = json.dumps(body)
            blob = content.encode()
            self.send_response(status)
            kind = "text/event-stream" if isinstance(body, list) else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(blob)))
            self.end_headers()
            self.wfile.write(blob)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
            """Keep the test output clean."""

    return Handler
