"""LiteLLM's own proxy on loopback, run as the recipe in examples/litellm-proxy says, with a worker of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from nearhit_worker.stack import Child, Worker, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nearhit_worker.stack import ValkeyServer

    from tests.support.chat_server import ChatServer

RECIPE = Path(__file__).parents[3] / "examples" / "litellm-proxy"
LACKING = [name for name in ("fastapi", "uvicorn", "apscheduler", "backoff") if not importlib.util.find_spec(name)]
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"LiteLLM's proxy needs {', '.join(LACKING)}: litellm[proxy]")
ASKED = "how do I restore a backup of my database"
AGAIN = "how do I restore the backup of my database"


@pytest.fixture
def server(plain_server: ValkeyServer) -> ValkeyServer:
    return plain_server


@pytest.fixture
def environ(server: ValkeyServer, namespace: str, provider: ChatServer) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("NEARHIT_")},
        "NEARHIT_URL": server.url,
        "NEARHIT_NAMESPACE": namespace,
        "NEARHIT_THRESHOLD": "0.8",
        "NEARHIT_MODEL": "hash/64",
        "NEARHIT_GUARD": "false",
        "NEARHIT_DEADLINE_MS": "2000",
        "NEARHIT_ENQUEUE_DEADLINE_MS": "1000",
        "OPENAI_API_BASE": provider.url,
        "OPENAI_API_KEY": "sk-none",
        "LITELLM_MASTER_KEY": "sk-master",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONPATH": str(RECIPE.parents[1]),
    }


@pytest.fixture
def worker(environ: dict[str, str], tmp_path: Path) -> Iterator[Worker]:
    settings = {name: value for name, value in environ.items() if name.startswith("NEARHIT_")}
    with Worker(tmp_path, settings) as one:
        yield one


@pytest.fixture
def proxy(environ: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of the proxy."""
    port = free_port()
    start = "import sys; from litellm import run_server; sys.exit(run_server())"
    arguments = ["--config", str(RECIPE / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    child = Child("proxy", [sys.executable, "-c", start, *arguments], tmp_path, environ)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _alive(child, url), 90, f"LiteLLM's proxy: {child.tail(40)}")
        yield url
    finally:
        child.stop()


def _alive(child: Child, url: str) -> bool:
    child.check()
    try:
        return openai.OpenAI(base_url=url, api_key="sk-master", max_retries=0, timeout=2).models.list().data != []
    except openai.OpenAIError:
        return False


def ask(proxy: str, text: str, **more: Any) -> tuple[str, dict[str, str]]:
    client = openai.OpenAI(base_url=proxy, api_key="sk-master", max_retries=0)
    messages = [{"role": "user", "content": text}]
    raw = client.chat.completions.with_raw_response.create(model="fast", messages=messages, **more)  # type: ignore[arg-type]
    return raw.parse().choices[0].message.content or "", dict(raw.headers)


def _get(url: str) -> Any:
    request = urllib.request.Request(url, headers={"authorization": "Bearer sk-master"})  # noqa: S310 - our own url
    with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310 - the same
        return json.load(reply)


def test_the_same_question_in_other_words_is_a_hit_with_its_similarity_in_a_header(
    proxy: str, worker: Worker, provider: ChatServer, server: ValkeyServer, namespace: str
) -> None:
    first, headers = ask(proxy, ASKED)
    assert first == "answer 1"
    assert headers["x-litellm-semantic-similarity"] == "0.0"
    with server.client() as client:
        pattern = f"nearhit:{namespace}:*:e:*"
        wait_until(lambda: any(client.scan_iter(pattern)), 20, "the worker has stored the answer")

    def hit() -> bool:
        text, more = ask(proxy, AGAIN)
        headers.update(more)
        return text == "answer 1"

    wait_until(hit, 10, "the proxy's replica sees the entry")
    assert 0.8 <= float(headers["x-litellm-semantic-similarity"]) < 1.0
    assert headers["x-litellm-cache-key"]

    asked = provider.answers
    client_ = openai.OpenAI(base_url=proxy, api_key="sk-master", max_retries=0)
    messages = [{"role": "user", "content": AGAIN}]
    stream: Any = client_.chat.completions.create(model="fast", messages=messages, stream=True)  # type: ignore[arg-type]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == "answer 1"
    assert provider.answers == asked
    fresh, _ = ask(proxy, AGAIN, extra_body={"cache": {"no-cache": True}})
    assert fresh == f"answer {asked + 1}"
    another, _ = ask(proxy, AGAIN, user="someone else")
    assert another == f"answer {asked + 2}"
    assert _get(f"{proxy}/cache/ping")["status"] == "healthy"
