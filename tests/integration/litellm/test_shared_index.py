"""One index for this cache and for LiteLLM's own class: each serves what the other wrote.

LiteLLM's class is the real one, in an interpreter with redis-py below 6 that NEARHIT_TEST_LITELLM_SEED_PYTHON names.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import wait_until

from nearhit import Metrics, SemanticCache
from nearhit.bulk.load import load_files
from nearhit.cli import main
from nearhit.litellm import shared_scope
from nearhit.testing import HashEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit_worker.stack import ValkeyServer

    from nearhit.settings import Settings
    from tests.integration.litellm.conftest import Installed

PYTHON = os.environ.get("NEARHIT_TEST_LITELLM_SEED_PYTHON", "")
ASKED = "how do I restore a backup of my database"
AGAIN = "how do I restore the backup of my database"
RESPONSE = {
    "id": "chatcmpl-9",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "it's stock's"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Stock:
    """LiteLLM's own class in its own process."""

    index = ""

    def __init__(self, url: str) -> None:
        environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
        program = str(Path(__file__).parent / "stock.py")
        self._process = subprocess.Popen(
            [PYTHON, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        assert self._send({"url": url.replace("valkey:", "redis:"), "threshold": 0.8}) == "ready"

    def set(self, response: dict[str, Any], **call: Any) -> None:
        self._ask("set", {**call, "ttl": 600}, response=json.dumps(response))

    def get(self, **call: Any) -> Any:
        return self._ask("get", call)

    def key(self, **call: Any) -> str:
        return str(self._ask("key", call))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)

    def _ask(self, do: str, call: dict[str, Any], **more: Any) -> Any:
        text = "".join(message["content"] for message in call["messages"])
        vectors = {text: HashEmbedder(64).embed([text], 1.0).vectors[0].tolist()}
        return self._send({"do": do, "index": self.index, "call": call, "vectors": vectors, **more})

    def _send(self, line: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture
def server(search_server: ValkeyServer) -> ValkeyServer:
    return search_server


@pytest.fixture
def index(namespace: str) -> str:
    return f"index-{namespace}"


@pytest.fixture
def shared(installs: Callable[..., Installed], index: str) -> Installed:
    """A cache in LiteLLM's layout."""
    return installs(layout="litellm", layout_index=index)


@pytest.fixture(scope="module")
def stock_process(search_server: ValkeyServer) -> Iterator[Stock]:
    if not PYTHON:
        pytest.skip("LiteLLM's own class: set NEARHIT_TEST_LITELLM_SEED_PYTHON to a Python with litellm and redis<6")
    one = Stock(search_server.url)
    yield one
    one.close()


@pytest.fixture
def stock(stock_process: Stock, index: str) -> Stock:
    stock_process.index = index
    return stock_process


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_litellms_own_class_serves_what_this_cache_wrote(shared: Installed, stock: Stock) -> None:
    litellm.completion(**shared.chat(ASKED, temperature=0.5))
    shared.settle()
    found = stock.get(**shared.chat(AGAIN, temperature=0.5))
    assert found["choices"][0]["message"]["content"] == "answer 1"
    assert stock.get(**shared.chat(AGAIN, temperature=0.6)) is None


def test_this_cache_serves_what_litellms_own_class_wrote(shared: Installed, stock: Stock) -> None:
    stock.set(RESPONSE, **shared.chat(ASKED, temperature=0.5))
    reply = litellm.completion(**shared.chat(AGAIN, temperature=0.5))
    assert reply.choices[0].message.content == "it's stock's"
    assert shared.provider.answers == 0
    other = litellm.completion(**shared.chat(AGAIN, temperature=0.6))
    assert other.choices[0].message.content == "answer 1"


def test_both_make_the_same_key_of_a_call(shared: Installed, stock: Stock) -> None:
    call = shared.chat(ASKED, temperature=0.5, metadata={"user_api_key": "k1", "model_group": "fast"})
    assert shared.facade.stock_key(call) == stock.key(**call)


def test_a_stock_proxy_is_warmed_by_answers_loaded_through_the_queue(
    shared: Installed, stock: Stock, settings: Callable[..., Settings], index: str
) -> None:
    call = {"model": "gpt-4o-mini", "messages": chat(AGAIN), "metadata": {"user_api_key": "k1"}}
    with SemanticCache(shared.settings, metrics=shared.metrics) as loader:
        loader.fill(ASKED, "Use nightly dumps.", shared_scope(**call), lane="interactive")
    shared.settle()
    found = stock.get(**call)
    assert found["choices"][0]["message"]["content"] == "Use nightly dumps."
    assert stock.get(**{**call, "metadata": {"user_api_key": "k2"}}) is None


def test_an_entry_in_the_shared_index_has_litellms_fields_and_a_time_to_live(shared: Installed, index: str) -> None:
    litellm.completion(**shared.chat(ASKED))
    shared.settle()
    with shared.settings.server().client() as client:
        (key,) = client.scan_iter(f"{index}:*")
        fields, lifetime = client.hgetall(key), client.pttl(key)
    assert 0 < lifetime <= 86_400_000
    assert key.decode().split(":")[1] == fields[b"litellm_cache_key"].decode()
    assert fields[b"prompt"].decode() == ASKED
    assert len(fields[b"embedding"]) == 64 * 4
    stored = json.loads(fields[b"response"])
    assert json.loads(stored["response"])["choices"][0]["message"]["content"] == "answer 1"
    assert stored["timestamp"] > 1_700_000_000


def test_a_lost_shared_index_is_made_again_and_finds_the_entries(shared: Installed, index: str) -> None:
    litellm.completion(**shared.chat(ASKED))
    shared.settle()
    with shared.settings.server().client() as client:
        client.execute_command("FT.DROPINDEX", index)
    assert shared.runtime.check_index()

    def found() -> bool:
        return bool(litellm.completion(**shared.chat(AGAIN)).choices[0].message.content == "answer 1")

    wait_until(found, 10, "the server has read the entries into the new index")


def test_an_export_of_a_shared_index_loads_into_another_one(
    shared: Installed, index: str, settings: Callable[..., Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    litellm.completion(**shared.chat(ASKED))
    shared.settle()
    made = shared.settings
    where = ["--url", made.url, "--namespace", made.namespace, "--model", made.model]
    path = tmp_path / "all.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARHIT_LAYOUT", "litellm")
        patch.setenv("NEARHIT_LAYOUT_INDEX", index)
        assert main(["export", "--to", str(path), "--vectors", *where]) == 0
        assert main(["stats", "--json", *where]) == 0
        assert json.loads(capsys.readouterr().out)["entries"] == 1
        assert main(["invalidate", "--everything", *where[:4]]) == 2
        assert "delete_cache_keys" in capsys.readouterr().err
        assert main(["reindex", *where]) == 2
        assert "layout" in capsys.readouterr().err
    other = replace(made, layout_index=f"{index}-b")
    assert load_files(other, [str(path)]).accepted == 1
    runtime = Runtime(other, Metrics())
    assert runtime.drain("bulk") == 1
    with other.server().client() as client:
        (before,), (after,) = (list(client.scan_iter(f"{name}:*")) for name in (index, f"{index}-b"))
        answers = [json.loads(client.hget(name, "response") or b"") for name in (before, after)]
        assert answers[0] == answers[1]
        assert before.partition(b":")[2] == after.partition(b":")[2]
    runtime.close()


def test_a_picture_is_left_alone_where_litellms_key_would_not_hold_it(shared: Installed) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://127.0.0.1/a.png"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": ASKED}, part]}]
    litellm.completion(**shared.call(messages=messages))
    assert shared.count("nearhit_lookups_total", tier="none", outcome="bypass_unknown_part") == 1
    assert shared.count("nearhit_fills_total", outcome="bypassed") == 1
