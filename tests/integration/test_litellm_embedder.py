from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nearhit.domain.vectors import unit_rows
from nearhit.embedding.litellm_embedder import LiteLLMEmbedder
from nearhit.embedding.litellm_provider import register_local_provider
from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ConfigError, ContractError, EmbedderUnavailableError, NearhitError
from nearhit.llm.client import load_litellm
from tests.support.embedding_server import DIMENSION, EmbeddingServer, Reply, Request, refusal, reply_to, vectors_for
from tests.support.faces import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit.flow.ports import Embeddings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = "openai/text-embedding-3-small"
PRICE_DOLLARS = 0.02 / 1_000_000  # of that model, as its provider publishes it
TEXTS = ["a first text", "a second one", "and a third"]


@pytest.fixture(scope="module")
def one_server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as server:
        yield server


@pytest.fixture
def server(one_server: EmbeddingServer) -> EmbeddingServer:
    one_server.reset()
    return one_server


@pytest.fixture(params=["sync", "asyncio"])
def embed(request: pytest.FixtureRequest) -> Callable[..., Embeddings]:
    """Call either twin."""

    def call(embedder: LiteLLMEmbedder, texts: list[str] = TEXTS, timeout_seconds: float = 20.0) -> Embeddings:
        if request.param == "asyncio":
            return asyncio.run(embedder.embed_async(texts, timeout_seconds))
        return embedder.embed(texts, timeout_seconds)

    return call


def embedder_on(server: EmbeddingServer, model: str = MODEL, **options: Any) -> LiteLLMEmbedder:
    return LiteLLMEmbedder(model, api_base=server.url, api_key="sk-secret", **options)


def test_vectors_tokens_and_cost_come_from_the_reply(server: EmbeddingServer, embed: Callable[..., Embeddings]) -> None:
    answer = embed(embedder_on(server))
    assert answer.vectors == pytest.approx(unit_rows(vectors_for(TEXTS)), abs=1e-6)
    assert answer.tokens == 15
    assert answer.cost_dollars == pytest.approx(15 * PRICE_DOLLARS)


@pytest.mark.parametrize("model", [MODEL, "hosted_vllm/x", "azure/x", "litellm_proxy/x"])
def test_providers_that_speak_base64_are_asked_for_it(server: EmbeddingServer, model: str) -> None:
    options = {"extra": {"api_version": "1"}} if model.startswith("azure") else {}
    embedder_on(server, model, **options).embed(TEXTS, 20.0)
    assert [request["encoding_format"] for request in server.requests] == ["base64"]


def test_a_provider_that_answers_numbers_all_the_same_is_understood(server: EmbeddingServer) -> None:
    server.behave = lambda request: reply_to(request | {"encoding_format": "float"})
    assert embedder_on(server).embed(TEXTS, 20.0).vectors.shape == (3, DIMENSION)


def test_a_server_that_refuses_base64_is_asked_once_without_and_never_again_with(
    server: EmbeddingServer, embed: Callable[..., Embeddings]
) -> None:
    def refuse_base64(request: Request) -> Reply:
        return refusal(400)(request) if "encoding_format" in request else reply_to(request)

    server.behave = refuse_base64
    embedder = embedder_on(server)
    embed(embedder)
    embed(embedder)
    assert ["encoding_format" in request for request in server.requests] == [True, False, False]


def test_many_texts_are_sent_in_parts_and_come_back_in_order(
    server: EmbeddingServer, embed: Callable[..., Embeddings]
) -> None:
    texts = [f"text {number}" for number in range(7)]
    answer = embed(embedder_on(server, max_texts_per_call=3), texts)
    assert [len(request["input"]) for request in server.requests] == [3, 3, 1]
    assert answer.vectors == pytest.approx(unit_rows(vectors_for(texts)), abs=1e-6)
    assert answer.tokens == 35


def test_dimensions_are_asked_for_and_insisted_on(server: EmbeddingServer) -> None:
    with pytest.raises(ContractError, match=f"{DIMENSION} dimensions, expected 16"):
        embedder_on(server, dimensions=16).embed(TEXTS, 20.0)
    assert server.requests[0]["dimensions"] == 16


def test_a_price_is_unknown_for_a_server_of_ones_own(server: EmbeddingServer) -> None:
    answer = embedder_on(server, "hosted_vllm/text-embedding-3-small").embed(TEXTS, 20.0)
    assert (answer.tokens, answer.cost_dollars) == (15, 0.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ContractError),
        (401, ConfigError),
        (403, ConfigError),
        (404, ConfigError),
        (413, ContractError),
        (422, ContractError),
        (408, EmbedderUnavailableError),
        (429, EmbedderUnavailableError),
        (500, EmbedderUnavailableError),
        (502, EmbedderUnavailableError),
        (503, EmbedderUnavailableError),
    ],
)
@pytest.mark.parametrize("model", [MODEL, "hosted_vllm/x"])
def test_a_refusal_is_the_error_of_its_branch_after_one_request(
    server: EmbeddingServer,
    embed: Callable[..., Embeddings],
    status: int,
    kind: type[NearhitError],
    model: str,
) -> None:
    server.behave = refusal(status)
    with pytest.raises(kind, match=f"embedder '{model}': .*{status}") as caught:
        embed(embedder_on(server, model, extra={"encoding_format": "float"}))
    assert type(caught.value) is kind
    assert len(server.requests) == 1


@pytest.mark.parametrize("model", [MODEL, "hosted_vllm/x"])
def test_the_wait_that_a_provider_asks_for_is_passed_on(
    server: EmbeddingServer, embed: Callable[..., Embeddings], model: str
) -> None:
    server.behave = refusal(429, {"Retry-After": "7"})
    start = time.monotonic()
    with pytest.raises(EmbedderUnavailableError) as caught:
        embed(embedder_on(server, model))
    assert caught.value.retry_after_seconds == 7.0
    assert time.monotonic() - start < 5.0


@pytest.mark.parametrize(("header", "low", "high"), [("-3", 0, 0), ("0.5", 0.5, 0.5), ("soon", None, None)])
def test_odd_waits_are_read_or_left_out(
    server: EmbeddingServer, header: str, low: float | None, high: float | None
) -> None:
    server.behave = refusal(503, {"Retry-After": header})
    with pytest.raises(EmbedderUnavailableError) as caught:
        embedder_on(server).embed(TEXTS, 20.0)
    found = caught.value.retry_after_seconds
    assert found == low == high


def test_a_wait_may_be_a_date(server: EmbeddingServer) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    server.behave = refusal(429, {"Retry-After": date})
    with pytest.raises(EmbedderUnavailableError) as caught:
        embedder_on(server).embed(TEXTS, 20.0)
    assert caught.value.retry_after_seconds == pytest.approx(60, abs=5)


@pytest.mark.parametrize("model", [MODEL, "hosted_vllm/x"])
@pytest.mark.parametrize("kind", KINDS)
def test_calls_with_any_time_left_share_a_connection(kind: str, model: str) -> None:
    with EmbeddingServer() as server:  # a client of LiteLLM's goes by the address
        embedder = embedder_on(server, model)

        async def scene() -> None:
            for left in (9.0, 9.5, 10.0, 12.0):
                await embedder.embed_async(TEXTS, left)

        if kind == "asyncio":
            asyncio.run(scene())
        else:
            for left in (9.0, 9.5, 10.0, 12.0):
                embedder.embed(TEXTS, left)
        assert (server.connections, len(server.requests)) == (1, 4)


def test_a_hung_endpoint_is_given_up_in_time(server: EmbeddingServer, embed: Callable[..., Embeddings]) -> None:
    server.behave = server.hang
    start = time.monotonic()
    with pytest.raises(EmbedderUnavailableError, match="embedder 'openai/"):
        embed(embedder_on(server), TEXTS, 0.3)
    assert time.monotonic() - start < 3.0


def test_an_endpoint_that_trickles_is_given_up_in_time_under_the_deadline(server: EmbeddingServer) -> None:
    server.behave = server.hang
    embedder = embedder_for(MODEL, api_base=server.url, api_key="k", extra={"timeout": 15.0})
    start = time.monotonic()
    with pytest.raises(EmbedderUnavailableError, match=r"no answer within 0\.3 s"):
        embedder.embed(TEXTS, 0.3)
    assert time.monotonic() - start < 3.0


def test_nobody_listening_is_an_unavailable_embedder(embed: Callable[..., Embeddings]) -> None:
    embedder = LiteLLMEmbedder(MODEL, api_base="http://127.0.0.1:9/v1", api_key="k")
    with pytest.raises(EmbedderUnavailableError, match="embedder 'openai/"):
        embed(embedder)


def rows_where(change: Callable[[list[Any]], list[Any]]) -> Callable[[Request], Reply]:
    return lambda request: reply_to(request, change(vectors_for(request["input"])))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[:2], "2 vectors for 3 texts"),
        (lambda rows: [*rows, rows[0]], "4 vectors for 3 texts"),
        (lambda rows: [*rows[:2], [float("nan")] * DIMENSION], "NaN"),
        (lambda rows: [*rows[:2], [0.0] * DIMENSION], "all zeros"),
        (lambda rows: [*rows[:2], rows[2][:5]], "not an array of numbers"),
    ],
)
@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_vectors_that_break_the_contract_are_a_named_error(
    server: EmbeddingServer, encoding: str, change: Callable[[list[Any]], list[Any]], reason: str
) -> None:
    server.behave = rows_where(change)
    with pytest.raises(ContractError, match=reason):
        embedder_on(server, extra={"encoding_format": encoding}).embed(TEXTS, 20.0)


@pytest.mark.parametrize("body", [b"not json", b"[]", b"{}", b'{"data": null}', b'{"data": [1]}'])
@pytest.mark.parametrize("model", [MODEL, "hosted_vllm/x"])
def test_a_reply_of_garbage_is_one_of_our_errors(
    server: EmbeddingServer, embed: Callable[..., Embeddings], body: bytes, model: str
) -> None:
    server.behave = lambda _: (200, body, {})
    with pytest.raises(NearhitError):
        embed(embedder_on(server, model))


def test_a_missing_key_is_the_operators_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="no API key"):
        LiteLLMEmbedder(MODEL).embed(TEXTS, 20.0)


def test_an_unknown_provider_is_the_operators_mistake() -> None:
    with pytest.raises(ConfigError, match="embedder 'nonsense': litellm knows no such provider"):
        LiteLLMEmbedder("nonsense").embed(TEXTS, 20.0)


def test_dimensions_that_the_model_does_not_take_are_the_operators_mistake(server: EmbeddingServer) -> None:
    with pytest.raises(ConfigError, match="dimensions"):
        embedder_on(server, "openai/old-model", dimensions=8).embed(TEXTS, 20.0)


def test_keys_stay_out_of_the_representation_and_of_errors(server: EmbeddingServer) -> None:
    server.behave = refusal(401)
    embedder = embedder_on(server)
    with pytest.raises(ConfigError) as caught:
        embedder.embed(TEXTS, 20.0)
    assert "sk-secret" not in repr(embedder) + str(caught.value)


def test_litellm_serves_the_local_model_after_registering_twice() -> None:
    register_local_provider()
    register_local_provider()
    litellm = load_litellm()
    texts = ["hello", "good bye"]
    expected = MiniLMEmbedder().embed(texts, 60.0).vectors
    answers = [
        litellm.embedding(model="local/minilm", input=texts),
        asyncio.run(litellm.aembedding(model="local/minilm", input=texts)),
    ]
    for answer in answers:
        assert np.array([item["embedding"] for item in answer.data]) == pytest.approx(expected, abs=1e-6)
    assert sum(entry["provider"] == "local" for entry in litellm.custom_provider_map) == 1
    with pytest.raises(litellm.NotFoundError, match="no local model 'other'"):
        litellm.embedding(model="local/other", input=texts)


QUIET_SCRIPT = """
import logging, os, sys
from nearhit.embedding.litellm_embedder import LiteLLMEmbedder
from nearhit.errors import NearhitError

before = (logging.root.level, list(logging.root.handlers))
embedder = LiteLLMEmbedder("openai/x", api_base=sys.argv[1], api_key="k")
assert embedder.embed(["a text"], 30.0).vectors.shape == (1, 32)
try:
    LiteLLMEmbedder("openai/x", api_base="http://127.0.0.1:9/v1", api_key="k").embed(["a text"], 30.0)
except NearhitError:
    pass
assert (logging.root.level, list(logging.root.handlers)) == before
assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
"""


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_nothing_is_printed_and_the_root_logger_is_left_alone(server: EmbeddingServer) -> None:
    done = run_script(QUIET_SCRIPT, server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


FORK_SCRIPT = """
import os, sys
import numpy as np
from nearhit.embedding.litellm_embedder import LiteLLMEmbedder
from nearhit.domain.vectors import unit_rows
from tests.support.embedding_server import vectors_for
from tests.support.faces import KINDS

def all_right(process):
    for model, embedder in embedders.items():
        for number in range(20):
            texts = [f"{process} asks {model} {number}"]
            if not np.allclose(embedder.embed(texts, 10.0).vectors, unit_rows(vectors_for(texts)), atol=1e-5):
                return False
    return True

models = ["openai/x", "hosted_vllm/x"]
embedders = {model: LiteLLMEmbedder(model, api_base=sys.argv[1], api_key="k") for model in models}
all_right("the parent before")
pid = os.fork()
if pid == 0:
    right = False
    try:
        right = all_right("the child")
    finally:
        os._exit(0 if right else 1)
right = all_right("the parent")
child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(0 if right and child == 0 else 1)
"""


def test_a_forked_child_never_reads_the_replies_of_its_parent(server: EmbeddingServer) -> None:
    done = run_script(FORK_SCRIPT, server.url)
    assert done.returncode == 0, done.stderr


def test_a_cache_of_the_application_is_not_asked_for_vectors(
    server: EmbeddingServer, embed: Callable[..., Embeddings]
) -> None:
    litellm = load_litellm()
    litellm.cache = litellm.Cache(type="local")
    try:
        embedder = embedder_on(server)
        embed(embedder)
        embed(embedder)
    finally:
        litellm.cache = None
    assert len(server.requests) == 2
