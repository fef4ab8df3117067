"""Freshness: stale answers are served while their model is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import Hit, SemanticCache
from tests.support.embedding_server import EmbeddingServer, refusal
from tests.support.log import drained, hashed, letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


def completion(text: str) -> Callable[[dict[str, Any]], tuple[int, Any, dict[str, str]]]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "usage": usage}
    return lambda _: (200, {**body, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}, {})


def test_a_stale_hit_is_served_and_its_model_asked_again_once(
    settings: Callable[..., Settings], server: ValkeyServer, endpoint: EmbeddingServer
) -> None:
    made = settings(ttl_seconds=60, fresh_seconds=0.05)
    runtime = hashed(made)
    recipe = {
        "model": "openai/stub",
        "messages": [{"role": "user", "content": "a question"}],
        "api_base": endpoint.url,
        "api_key": "sk-secret",
    }
    endpoint.behave = completion("the newer answer")
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        cache.fill("a question", "the older answer", refresh=recipe)
        cache.fill("another question", "an answer without a recipe")
        drained(runtime, server)
        wait_until(lambda: not cache.lookup("a question").fresh, 10, "the answer is stale")  # type: ignore[union-attr]
        for _ in range(50):
            hit = cache.lookup("a question")
            assert isinstance(hit, Hit)
            assert (hit.answer, hit.fresh, hit.refreshable) == ("the older answer", False, True)
        plain = cache.lookup("another question")
        assert isinstance(plain, Hit)
        assert (plain.fresh, plain.refreshable) == (False, False)
        with server.client() as client:
            wait_until(lambda: client.xlen(runtime.keys.log("refresh")) == 1, 5, "one refresh is queued")
        drained(runtime, server, lane="refresh")
        again = cache.lookup("a question")
        assert isinstance(again, Hit)
        assert again.answer == "the newer answer"
        assert again.usage is not None
        assert again.usage.completion_tokens == 2
    assert len(endpoint.requests) == 1
    assert letters(server, made.namespace) == []


@pytest.mark.parametrize(("status", "left"), [(500, "retry"), (400, "dead")])
def test_a_model_that_fails_leaves_the_stale_answer_where_it_is(
    settings: Callable[..., Settings], server: ValkeyServer, endpoint: EmbeddingServer, status: int, left: str
) -> None:
    made = settings(ttl_seconds=60, fresh_seconds=0.05)
    runtime = hashed(made)
    endpoint.behave = refusal(status)
    recipe = {"model": "openai/stub", "messages": [{"role": "user", "content": "q"}], "api_base": endpoint.url}
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        cache.fill("a question", "an answer", refresh={**recipe, "api_key": "k"})
        drained(runtime, server)
        wait_until(lambda: not cache.lookup("a question").fresh, 10, "the answer is stale")  # type: ignore[union-attr]
        with server.client() as client:
            wait_until(lambda: client.xlen(runtime.keys.log("refresh")) == 1, 5, "one refresh is queued")
            runtime.tick("refresh")
            assert client.zcard(runtime.keys.retry("refresh")) == (left == "retry")
            assert client.xlen(runtime.keys.dead) == (left == "dead")
        assert cache.lookup("a question")
