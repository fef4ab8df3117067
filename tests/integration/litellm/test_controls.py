"""What a caller can say of caching, what callers keep apart, and what is counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from nearhit_worker.stack import wait_until

from nearhit import SemanticCache
from nearhit.litellm import Options, latest_similarity
from nearhit.litellm import cache as make_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit_worker.stack import ValkeyServer

    from nearhit.settings import Settings
    from tests.integration.litellm.conftest import Installed

ASKED = "how do I restore a backup of my database"
AGAIN = "how do I restore the backup of my database"
CALL = {"id": "c", "type": "function", "function": {"name": "restore", "arguments": '{"id": 7}'}}
TOOLS = [{"type": "function", "function": {"name": "restore", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def server(plain_server: ValkeyServer) -> ValkeyServer:
    return plain_server


def ask(installed: Installed, text: str, **more: Any) -> str:
    return str(litellm.completion(**installed.chat(text, **more)).choices[0].message.content)


def test_no_cache_asks_the_model_and_stores_its_answer(installed: Installed) -> None:
    ask(installed, ASKED)
    installed.settle()
    assert ask(installed, ASKED, cache={"no-cache": True}) == "answer 2"
    installed.settle()
    assert ask(installed, ASKED) == "answer 2"


def test_no_store_keeps_the_answer_out(installed: Installed) -> None:
    ask(installed, ASKED, cache={"no-store": True})
    assert ask(installed, ASKED) == "answer 2"
    assert installed.accepted == 1


def test_ttl_ends_an_entry(installed: Installed) -> None:
    ask(installed, ASKED, cache={"ttl": 1000})
    installed.settle()
    with installed.settings.server().client() as client:
        (key,) = client.scan_iter(f"nearhit:{installed.settings.namespace}:*:e:*")
        assert 800_000 < client.pttl(key) <= 1_000_000


def test_s_maxage_refuses_an_older_answer(installed: Installed) -> None:
    ask(installed, ASKED)
    installed.settle()
    assert ask(installed, ASKED, cache={"s-maxage": 60}) == "answer 1"
    hits = installed.count("nearhit_lookups_total", outcome="hit", tier="exact")
    saved = installed.count("nearhit_saved_tokens_total")
    assert hits == 1
    assert ask(installed, ASKED, cache={"s-maxage": 0}) == "answer 2"
    assert installed.count("nearhit_lookups_total", outcome="hit", tier="exact") == hits
    assert installed.count("nearhit_lookups_total", outcome="refused", tier="none") == 1
    assert installed.count("nearhit_saved_tokens_total") == saved


def test_namespaces_do_not_share(installed: Installed) -> None:
    ask(installed, ASKED, cache={"namespace": "a"})
    installed.settle()
    assert ask(installed, ASKED, cache={"namespace": "b"}) == "answer 2"
    assert ask(installed, AGAIN, cache={"namespace": "a"}) == "answer 1"


def test_a_cache_that_is_off_by_default_is_used_when_asked_for(installs: Callable[..., Installed]) -> None:
    installed = installs(Options(default_off=True))
    ask(installed, ASKED)
    assert installed.accepted == 0
    ask(installed, ASKED, cache={"use-cache": True})
    installed.settle()
    assert ask(installed, ASKED, cache={"use-cache": True}) == "answer 2"


def test_a_long_conversation_is_cached_unless_limited(installs: Callable[..., Installed]) -> None:
    turns = [{"role": role, "content": f"turn {at}"} for at in range(4) for role in ("user", "assistant")]
    messages = [*turns, {"role": "user", "content": ASKED}]
    installed = installs()
    litellm.completion(**installed.call(messages=messages))
    installed.settle()
    assert litellm.completion(**installed.call(messages=messages)).choices[0].message.content == "answer 1"
    installed = installs(Options(max_messages=4))
    litellm.completion(**installed.call(messages=messages))
    assert installed.provider.answers == 2


def test_tenants_of_the_proxy_do_not_share(installed: Installed) -> None:
    ask(installed, ASKED, metadata={"user_api_key": "k1"})
    installed.settle()
    assert ask(installed, ASKED, metadata={"user_api_key": "k2"}) == "answer 2"
    assert ask(installed, AGAIN, metadata={"user_api_key": "k1"}) == "answer 1"


def test_user_and_seed_and_the_order_of_parameters_share(installed: Installed) -> None:
    litellm.completion(**installed.chat(ASKED, temperature=0.5, user="u1", seed=1))
    installed.settle()
    swapped = dict(reversed(list(installed.chat(AGAIN, seed=2, user="u2", temperature=0.5).items())))
    assert litellm.completion(**swapped).choices[0].message.content == "answer 1"


def test_the_similarity_is_written_into_the_callers_metadata(installed: Installed) -> None:
    first: dict[str, Any] = {}
    ask(installed, ASKED, metadata=first)
    installed.settle()
    exact: dict[str, Any] = {}
    ask(installed, ASKED, metadata=exact)
    near: dict[str, Any] = {}
    ask(installed, AGAIN, metadata=near)
    assert first["semantic-similarity"] == 0.0
    assert exact["semantic-similarity"] == 1.0
    assert 0.8 <= near["semantic-similarity"] < 1.0


@pytest.mark.parametrize("asynchronous", [False, True], ids=["completion", "acompletion"])
def test_a_caller_without_metadata_hits_and_can_ask_how_alike_it_was(installed: Installed, asynchronous: bool) -> None:
    async def ask_async(text: str) -> float | None:
        await litellm.acompletion(**installed.chat(text))
        return latest_similarity()

    def similarity_of(text: str) -> float | None:
        if asynchronous:
            answered: float | None = installed.run(ask_async(text))
            return answered
        litellm.completion(**installed.chat(text))
        return latest_similarity()

    ask(installed, ASKED, metadata=None)
    installed.settle()
    near = similarity_of(AGAIN)
    assert near is not None
    assert 0.8 <= near < 1.0
    assert similarity_of(ASKED) == 1.0
    assert installed.provider.answers == 1


def test_a_hit_counts_the_tokens_and_dollars_that_it_saved(installed: Installed) -> None:
    ask(installed, ASKED)
    installed.settle()
    ask(installed, AGAIN)
    assert installed.count("nearhit_saved_tokens_total") == 18
    price = litellm.model_cost["gpt-4o-mini"]
    dollars = 11 * price["input_cost_per_token"] + 7 * price["output_cost_per_token"]
    assert installed.count("nearhit_saved_dollars_total") == pytest.approx(dollars)


def test_a_question_is_embedded_once_though_lookup_and_fill_are_two_calls(installed: Installed) -> None:
    embedded = installed.count("nearhit_embed_texts_total", side="read")
    ask(installed, ASKED)
    installed.settle()
    assert installed.count("nearhit_embed_texts_total", side="read") == embedded + 1
    registry = installed.runtime.metrics.registry
    labels = {"namespace": installed.settings.namespace, "side": "write"}
    assert registry.get_sample_value("nearhit_embed_texts_total", labels) in {None, 0.0, 1.0}  # 1: the worker's probe


def test_tool_calls_are_replayed_with_their_arguments_to_the_same_words_only(installed: Installed) -> None:
    installed.provider.finish_reason = "tool_calls"
    installed.provider.tool_calls = [CALL]
    litellm.completion(**installed.chat(ASKED, tools=TOOLS))
    installed.settle()
    reply = litellm.completion(**installed.chat(ASKED, tools=TOOLS))
    call = reply.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("restore", '{"id": 7}')
    assert installed.provider.answers == 1
    assert installed.count("nearhit_saved_tokens_total") == 18
    litellm.completion(**installed.chat(AGAIN, tools=TOOLS))
    assert installed.provider.answers == 2
    assert installed.count("nearhit_saved_tokens_total") == 18


def test_tool_calls_are_served_to_other_words_when_asked(installs: Callable[..., Installed]) -> None:
    installed = installs(Options(similar_tool_calls=True))
    installed.provider.finish_reason = "tool_calls"
    installed.provider.tool_calls = [CALL]
    litellm.completion(**installed.chat(ASKED, tools=TOOLS))
    installed.settle()
    assert litellm.completion(**installed.chat(AGAIN, tools=TOOLS)).choices[0].message.tool_calls
    assert installed.provider.answers == 1


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_partial_answer_is_not_stored(installed: Installed, finish: str) -> None:
    installed.provider.finish_reason = finish
    ask(installed, ASKED)
    assert ask(installed, ASKED) == "answer 2"
    assert installed.count("nearhit_fills_total", outcome="bypassed") == 2
    assert installed.accepted == 0


def test_an_empty_answer_is_not_stored(installed: Installed) -> None:
    installed.provider.text = ""
    ask(installed, ASKED)
    assert installed.accepted == 0


def test_a_response_that_goes_on_in_the_background_is_not_stored(installed: Installed) -> None:
    installed.provider.response_status = "in_progress"
    litellm.responses(**installed.call(input=ASKED))
    assert installed.accepted == 0


def test_an_error_is_not_stored(installed: Installed) -> None:
    installed.provider.status = 400
    with pytest.raises(litellm.BadRequestError):
        ask(installed, ASKED)
    installed.provider.status = 200
    assert ask(installed, ASKED) == "answer 2"


def test_a_stream_that_its_caller_leaves_is_not_stored(installed: Installed) -> None:
    installed.provider.text = "one two three four"
    stream = litellm.completion(**installed.chat(ASKED, stream=True))
    next(stream)
    del stream
    assert ask(installed, ASKED) == "one two three four"
    installed.settle(1)
    assert installed.accepted == 1


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [{"type": "text", "text": ASKED}, {"type": "guarded_text", "text": "x"}]}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://127.0.0.1/a.png"}}]}],
        [litellm.Message(role="assistant", content=None, audio=None), {"role": "user", "content": None}],
    ],
    ids=["unknown part", "no content", "image alone", "pydantic without content"],
)
def test_a_question_that_cannot_be_cached_goes_to_the_model_every_time(installed: Installed, messages: Any) -> None:
    for number in (1, 2):
        reply = litellm.completion(**installed.call(messages=messages))
        assert reply.choices[0].message.content == f"answer {number}"
    assert installed.accepted == 0
    bypassed = ("bypass_unknown_part", "bypass_empty", "bypass_not_text")
    assert sum(installed.count("nearhit_lookups_total", tier="none", outcome=one) for one in bypassed) == 2


def test_pydantic_messages_share_with_plain_ones(installed: Installed) -> None:
    litellm.completion(**installed.call(messages=[litellm.Message(role="user", content=ASKED)]))
    installed.settle()
    assert ask(installed, AGAIN) == "answer 1"


def test_the_same_caption_with_another_picture_is_not_a_hit(installed: Installed) -> None:
    def look(url: str) -> str:
        parts = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": url}}]
        reply = litellm.completion(**installed.call(messages=[{"role": "user", "content": parts}]))
        return str(reply.choices[0].message.content)

    assert look("https://127.0.0.1/a.png") == "answer 1"
    installed.settle()
    assert look("https://127.0.0.1/b.png") == "answer 2"
    assert look("https://127.0.0.1/a.png") == "answer 1"


def test_embeddings_are_left_alone(installed: Installed) -> None:
    for _ in range(2):
        litellm.embedding(model="openai/e", input=[ASKED], api_base=installed.provider.url, api_key="sk-none")

    async def embed() -> None:
        await litellm.aembedding(model="openai/e", input=[ASKED], api_base=installed.provider.url, api_key="sk-none")

    installed.run(embed())
    assert sum(path.endswith("/embeddings") for path, _ in installed.provider.asked) == 3
    assert installed.accepted == 0


def test_ping_and_test_connection_say_whether_lookups_work(installed: Installed) -> None:
    assert installed.run(installed.facade.ping()) is True
    assert installed.run(installed.backend.test_connection()) == {"status": "success", "message": "a lookup works"}
    assert installed.run(installed.backend._index_info())["model"] == "hash/64"  # noqa: SLF001 - LiteLLM calls it by this name
    installed.backend.sync.close()
    assert installed.run(installed.facade.ping()) is False
    assert installed.run(installed.backend.test_connection()) == {"status": "failed", "message": "closed"}


def test_an_answer_is_deleted_by_the_cache_key_that_came_with_it(installed: Installed) -> None:
    ask(installed, ASKED)
    installed.settle()
    reply = litellm.completion(**installed.chat(AGAIN))
    key = reply._hidden_params["cache_key"]  # noqa: SLF001 - LiteLLM's way to say it
    assert installed.run(installed.facade.delete_cache_keys([key])) == 1
    wait_until(lambda: ask(installed, AGAIN) != "answer 1", 10, "the replica sees the removal")


def test_the_models_answer_comes_when_the_cache_server_is_gone(installs: Callable[..., Installed]) -> None:
    installed = installs()
    broken = make_cache(url="valkey://127.0.0.1:1", threshold=0.8, model="hash/64", deadline_ms=300)
    litellm.cache = broken
    started = time.monotonic()
    assert ask(installed, ASKED) == "answer 1"
    assert time.monotonic() - started < 10
    installed.run(broken.disconnect())


def test_litellms_own_facade_takes_the_backend(installed: Installed) -> None:
    from litellm.caching.caching import Cache

    litellm.cache = Cache(type="valkey-semantic", _backend=installed.backend, supported_call_types=["completion"])
    ask(installed, ASKED, temperature=0.5)
    installed.settle()
    seen: dict[str, Any] = {}
    assert ask(installed, AGAIN, temperature=0.5, metadata=seen) == "answer 1"
    assert seen["semantic-similarity"] >= 0.8
    assert ask(installed, AGAIN, temperature=0.6) == "answer 2"


def test_a_cache_of_ones_own_can_be_installed(installed: Installed, settings: Callable[..., Settings]) -> None:
    from nearhit.litellm import install

    with SemanticCache(settings()) as own:
        facade = install(own)
        assert litellm.cache is facade
        assert own.warm_up(20)

        async def ask_async() -> str:
            return str((await litellm.acompletion(**installed.chat(ASKED))).choices[0].message.content)

        assert installed.run(ask_async()) == "answer 1"
        labels = {"namespace": own.settings.namespace, "tier": "none", "outcome": "empty"}
        assert own.metrics.registry.get_sample_value("nearhit_lookups_total", labels) == 1


@pytest.fixture
def own(installed: Installed, settings: Callable[..., Settings]) -> Iterator[SemanticCache]:
    """A blocking cache alone, installed without an asyncio twin, over the same entries."""
    from nearhit.litellm import install

    with SemanticCache(settings()) as one:
        install(one)
        assert one.warm_up(20)
        yield one


async def awaited(installed: Installed, text: str, **more: Any) -> Any:
    return (await litellm.acompletion(**installed.chat(text, **more))).choices[0].message


def test_tool_calls_are_replayed_to_the_same_words_only_without_an_asyncio_twin(
    installed: Installed, own: SemanticCache
) -> None:
    installed.provider.finish_reason = "tool_calls"
    installed.provider.tool_calls = [CALL]
    assert installed.run(awaited(installed, ASKED, tools=TOOLS)).tool_calls
    wait_until(lambda: installed.runtime.drain("interactive") == 1, 10, "the answer is stored")
    wait_until(lambda: installed.run(_repeated(installed)), 10, "the replica sees it")
    answers = installed.provider.answers
    installed.run(awaited(installed, AGAIN, tools=TOOLS))
    assert installed.provider.answers == answers + 1


async def _repeated(installed: Installed) -> bool:
    answers = installed.provider.answers
    await awaited(installed, ASKED, tools=TOOLS, cache={"no-store": True})
    return installed.provider.answers == answers


def test_s_maxage_refuses_an_older_answer_without_an_asyncio_twin(installed: Installed, own: SemanticCache) -> None:
    ask(installed, ASKED)
    wait_until(lambda: installed.runtime.drain("interactive") == 1, 10, "the answer is stored")
    wait_until(lambda: bool(ask(installed, ASKED, cache={"no-store": True}) == "answer 1"), 10, "the replica sees it")
    answers = installed.provider.answers
    assert installed.run(awaited(installed, ASKED, cache={"s-maxage": 60})).content == "answer 1"
    installed.run(awaited(installed, ASKED, cache={"s-maxage": 0}))
    assert installed.provider.answers == answers + 1


@pytest.mark.parametrize("name", ["conversation", "previous_response_id"])
def test_a_response_that_goes_on_with_what_the_provider_keeps_goes_to_the_model(
    installed: Installed, name: str
) -> None:
    for _ in range(2):
        litellm.responses(**installed.call(input=ASKED, **{name: "x_1"}))
    assert installed.provider.answers == 2
    assert installed.accepted == 0
