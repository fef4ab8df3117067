"""LangChain's models over the cache: its own cache tests where they are installed, and a fake chat model."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Any

import pytest

if not importlib.util.find_spec("langchain_core"):
    pytest.skip("langchain-core is not installed", allow_module_level=True)

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import wait_until

from nearhit import AsyncSemanticCache, SemanticCache
from nearhit.langchain import NearhitCache
from nearhit.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import redis

    from nearhit.settings import Settings

ASKED = "how do I restore a backup of my database"
AGAIN = "how do I restore the backup of my database"


class Settled(NearhitCache):
    """The cache with a worker that has always finished: LangChain's own tests look at once for what they wrote."""

    def __init__(self, settings: Settings, runner: asyncio.Runner | None = None) -> None:
        self.sync = SemanticCache(settings)
        self.twin = AsyncSemanticCache(settings, metrics=self.sync.metrics) if runner else None
        super().__init__(self.sync, self.twin)
        self.settings = settings
        self.runner = runner
        self.runtime = Runtime(settings, Metrics(namespace=settings.namespace))
        assert self.sync.warm_up(20)
        if runner and self.twin:
            assert runner.run(self.twin.warm_up(20))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        super().update(prompt, llm_string, return_val)
        self.settle()

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        await super().aupdate(prompt, llm_string, return_val)
        await asyncio.to_thread(self.settle)

    def clear(self, **kwargs: Any) -> None:
        super().clear(**kwargs)
        wait_until(self._seen, 10, "the replicas see the removal")

    def settle(self) -> None:
        self.runtime.drain("interactive")
        wait_until(self._seen, 10, "the replicas see the new entries")

    def close(self) -> None:
        if self.runner and self.twin:
            self.runner.run(self.twin.close())
        self.sync.close()

    def _seen(self) -> bool:
        with self.settings.server().client() as client:
            there = sum(1 for _ in client.scan_iter(f"nearhit:{self.settings.namespace}:*:e:*"))
        replicas = [one.replica for one in (self.sync, self.twin) if one]
        return all(one.entries == there for one in replicas if one is not None)


@pytest.fixture
def cache(settings: Callable[..., Settings]) -> Iterator[Settled]:
    one = Settled(settings())
    yield one
    one.close()


@pytest.fixture
def both(settings: Callable[..., Settings]) -> Iterator[Settled]:
    with asyncio.Runner() as runner:
        one = Settled(settings(), runner)
        yield one
        one.close()


def test_a_chat_model_answers_the_same_question_in_other_words_from_the_cache(cache: Settled) -> None:
    model = GenericFakeChatModel(messages=iter(["one", "two"]), cache=cache)
    assert model.invoke(ASKED).content == "one"
    assert model.invoke(AGAIN).content == "one"
    assert model.invoke("what is the weather like in spring").content == "two"


def test_a_chat_model_awaits_the_cache(both: Settled) -> None:
    model = GenericFakeChatModel(messages=iter(["one", "two"]), cache=both)

    async def ask() -> list[Any]:
        return [(await model.ainvoke(text)).content for text in (ASKED, AGAIN)]

    assert both.runner
    assert both.runner.run(ask()) == ["one", "one"]


def test_the_system_prompt_and_the_earlier_turns_belong_to_the_scope(cache: Settled) -> None:
    said = iter(["first", "second", "third", "fourth"])
    model = GenericFakeChatModel(messages=said, cache=cache)
    question = HumanMessage(ASKED)
    assert model.invoke([question]).content == "first"
    assert model.invoke([SystemMessage("be brief"), question]).content == "second"
    assert model.invoke([HumanMessage("hi"), AIMessage("hello"), question]).content == "third"
    call = {"name": "f", "args": {"a": 1}, "id": "1"}
    turns = [question, AIMessage("", tool_calls=[call]), ToolMessage("42", tool_call_id="1")]
    assert model.invoke(turns).content == "fourth"
    assert model.invoke([SystemMessage("be brief"), HumanMessage(AGAIN)]).content == "second"


def test_another_model_or_other_parameters_are_another_scope(cache: Settled) -> None:
    answer = [Generation(text="yes")]
    cache.update(ASKED, "model-a", answer)
    assert cache.lookup(AGAIN, "model-a") == answer
    assert cache.lookup(AGAIN, "model-b") is None


def test_tenants_do_not_share(cache: Settled) -> None:
    cache.update(ASKED, "m", [Generation(text="yes")])
    other = NearhitCache(cache.sync, tenant="someone else")
    assert other.lookup(ASKED, "m") is None


def test_an_answer_that_calls_tools_is_served_to_the_same_words_only(cache: Settled) -> None:
    call = {"name": "restore", "args": {"id": 7}, "id": "1"}
    answer = [ChatGeneration(message=AIMessage("", tool_calls=[call]))]
    cache.update(ASKED, "m", answer)
    assert cache.lookup(ASKED, "m") == answer
    assert cache.lookup(AGAIN, "m") is None


def test_an_answer_that_calls_a_function_in_the_older_way_is_served_to_the_same_words_only(cache: Settled) -> None:
    called = {"function_call": {"name": "restore", "arguments": "{}"}}
    answer = [ChatGeneration(message=AIMessage("I will.", additional_kwargs=called))]
    cache.update(ASKED, "m", answer)
    assert cache.lookup(ASKED, "m") == answer
    assert cache.lookup(AGAIN, "m") is None


def test_a_tool_that_failed_and_one_that_did_not_are_two_conversations(cache: Settled) -> None:
    def ask(**changes: Any) -> str:
        call = {"name": "f", "args": {}, "id": "1"}
        result = ToolMessage("42", tool_call_id="1", **changes)
        return str(
            model.invoke([HumanMessage("hi"), AIMessage("", tool_calls=[call]), result, HumanMessage(ASKED)]).content
        )

    model = GenericFakeChatModel(messages=iter(["one", "two", "three"]), cache=cache)
    assert [ask(), ask(status="error"), ask(artifact={"rows": 3}), ask()] == ["one", "two", "three", "one"]


def test_results_of_two_tools_that_change_places_are_two_conversations(cache: Settled) -> None:
    def ask(first: str, second: str) -> str:
        calls = [{"name": "capital", "args": {"of": of}, "id": of} for of in ("France", "Italy")]
        results = [ToolMessage(first, tool_call_id="France"), ToolMessage(second, tool_call_id="Italy")]
        return str(
            model.invoke([HumanMessage("?"), AIMessage("", tool_calls=calls), *results, HumanMessage(ASKED)]).content
        )

    model = GenericFakeChatModel(messages=iter(["one", "two"]), cache=cache)
    assert [ask("Paris", "Rome"), ask("Rome", "Paris"), ask("Paris", "Rome")] == ["one", "two", "one"]


def test_an_empty_answer_is_not_stored(cache: Settled, client: redis.Redis) -> None:
    cache.update(ASKED, "m", [Generation(text=" ")])
    assert cache.lookup(ASKED, "m") is None
    assert not list(client.scan_iter(f"nearhit:{cache.settings.namespace}:*:e:*"))


def test_an_entry_of_another_program_is_a_miss(cache: Settled) -> None:
    cache.sync.fill(ASKED, "plain text", {"\0langchain": "m"})
    cache.settle()
    assert cache.lookup(ASKED, "m") is None


def test_saved_tokens_are_counted_from_the_usage_that_the_model_reported(cache: Settled) -> None:
    usage = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    cache.update(ASKED, "m", [ChatGeneration(message=AIMessage("yes", usage_metadata=usage))])
    assert cache.lookup(AGAIN, "m")
    labels = {"namespace": cache.settings.namespace}
    assert cache.sync.metrics.registry.get_sample_value("nearhit_saved_tokens_total", labels) == 11


@pytest.mark.parametrize("prompt", ["", "[", "[1, 2]", '[{"lc": 1}]', "\ud800", "[" * 5000])
def test_a_prompt_that_cannot_be_read_breaks_nothing(cache: Settled, prompt: str) -> None:
    assert cache.lookup(prompt, "m") is None
    cache.update(prompt, "m", [Generation(text="yes")])


LACKING = pytest.mark.skipif(not importlib.util.find_spec("langchain_tests"), reason="langchain-tests is not installed")
TESTS = (
    *("test_cache_is_empty", "test_update_cache", "test_cache_still_empty", "test_clear_cache", "test_cache_miss"),
    *("test_cache_hit", "test_update_cache_with_multiple_generations"),
)


@LACKING
@pytest.mark.parametrize("name", TESTS)
def test_langchains_own_cache_tests_pass(cache: Settled, name: str) -> None:
    from langchain_tests.integration_tests import SyncCacheTestSuite

    getattr(SyncCacheTestSuite(), name)(cache)
    listed = {one for one in dir(SyncCacheTestSuite) if one.startswith("test_")} - {"test_no_overrides_DO_NOT_OVERRIDE"}
    assert listed == set(TESTS)


@LACKING
@pytest.mark.parametrize("name", TESTS)
def test_langchains_own_cache_tests_pass_awaited(both: Settled, name: str) -> None:
    from langchain_tests.integration_tests import AsyncCacheTestSuite

    assert both.runner
    both.runner.run(getattr(AsyncCacheTestSuite(), name)(both))  # called here: the suite wants a plugin for asyncio
