"""Batches and retries: one call for many texts, and what an endpoint that fails costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from nearhit import SemanticCache
from nearhit.testing import HashEmbedder
from tests.support.embedding_server import EmbeddingServer, refusal, reply_to
from tests.support.log import drained, hashed, letters, prompts_in, texts_asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.runtime import Runtime
    from nearhit_worker.stack import ValkeyServer

    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")

DIMENSION = 32


def test_a_text_that_many_fills_share_is_embedded_once_and_one_that_was_seen_never(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote()
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        for number in range(20):
            cache.fill(f"question {number % 4}", f"answer {number}")
        drained(runtime, server)
        cache.fill("question 1", "answer 20")
        drained(runtime, server)
    assert sorted(map(sorted, texts_asked(endpoint))) == [[f"question {n}" for n in range(4)]]
    assert prompts_in(server, runtime.settings.namespace)["question 1"] == "answer 20"


def test_a_fill_that_carries_the_vector_of_its_miss_needs_no_call(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    runtime = hashed(made)
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        miss = cache.lookup("a question")
        assert not miss
        cache.fill(miss, "an answer")
        drained(runtime, server)
    calls = runtime.metrics.registry.get_sample_value(
        "nearhit_embed_texts_total", {"namespace": made.namespace, "side": "write"}
    )
    assert prompts_in(server, made.namespace) == {"a question": "an answer"}
    assert (calls or 0) <= 1  # the probe of the embedder, where nobody had registered it


def test_a_refused_text_becomes_a_dead_letter_and_its_neighbours_are_stored(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote()
    endpoint.behave = lambda asked: (
        refusal(400)(asked) if any("bad" in text for text in asked["input"]) else reply_to(asked)
    )
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        for number in range(8):
            cache.fill(f"{'bad' if number == 5 else 'good'} question {number}", "an answer")
        drained(runtime, server)
    assert len(prompts_in(server, runtime.settings.namespace)) == 7
    [letter] = letters(server, runtime.settings.namespace)
    assert letter.reason == "embedder_refused"
    assert letter.fill is not None
    assert letter.fill.prompt == "bad question 5"


def test_a_text_that_breaks_the_endpoint_each_time_holds_up_no_neighbour(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote(max_tries=6)
    endpoint.behave = lambda asked: (
        refusal(500)(asked) if any("bad" in text for text in asked["input"]) else reply_to(asked)
    )
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        for number in range(8):
            cache.fill(f"{'bad' if number == 5 else 'good'} question {number}", "an answer")
        drained(runtime, server, 30)
    assert len(prompts_in(server, runtime.settings.namespace)) == 7
    [letter] = letters(server, runtime.settings.namespace)
    assert (letter.reason, letter.tries) == ("retries_exhausted", 5)


@pytest.mark.parametrize("status", [429, 500, 503, 401])
def test_an_endpoint_that_fails_for_a_while_costs_no_fill(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer, status: int
) -> None:
    runtime = remote()
    runtime.space()
    endpoint.behave = refusal(status)
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        cache.fill("a question", "an answer")
        runtime.tick("interactive")
        with server.client() as client:
            assert client.zcard(runtime.keys.retry("interactive")) == 1
        endpoint.behave = reply_to
        drained(runtime, server)
    assert prompts_in(server, runtime.settings.namespace) == {"a question": "an answer"}
    assert letters(server, runtime.settings.namespace) == []


def test_a_retry_after_is_waited_for(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote(retry_ceiling_seconds=0.5)
    runtime.space()
    endpoint.behave = refusal(429, {"retry-after": "2"})
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        started = time.monotonic()
        cache.fill("a question", "an answer")
        runtime.tick("interactive")
        endpoint.behave = reply_to
        drained(runtime, server)
    assert 1.9 < time.monotonic() - started < 10


def test_a_dead_endpoint_is_given_up_after_its_time_limit_and_the_fill_waits(
    remote: Callable[..., Runtime], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    runtime = remote(embed_timeout_ms=300)
    runtime.space()
    endpoint.behave = endpoint.hang
    with SemanticCache(runtime.settings, embedder=HashEmbedder(DIMENSION)) as cache:
        cache.fill("a question", "an answer")
        started = time.monotonic()
        runtime.tick("interactive")
        assert time.monotonic() - started < 5
        endpoint.reset()
        drained(runtime, server)
    assert prompts_in(server, runtime.settings.namespace) == {"a question": "an answer"}
