"""LiteLLM's SDK over the cache: every kind of call, sync and asyncio, whole and streamed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import litellm
import pytest

if TYPE_CHECKING:
    from tests.integration.litellm.conftest import Installed

ASKED = "how do I restore a backup of my database"
AGAIN = "how do I restore the backup of my database"


class Call:
    """One kind of call: how to ask, and where the text of its answer is."""

    def __init__(self, name: str, asynchronous: bool) -> None:
        self.name = name
        self.asynchronous = asynchronous

    def __repr__(self) -> str:
        return f"a{self.name}" if self.asynchronous else self.name

    def ask(self, installed: Installed, text: str, **more: Any) -> tuple[str, bool]:
        """Return the text of the answer, and whether it came from the cache."""
        parameters = self.parameters(installed, text, **more)
        if self.asynchronous:
            return installed.run(self._ask_async(parameters))
        reply = getattr(litellm, self.name)(**parameters)
        if more.get("stream"):
            return self._joined(list(reply)), False
        return self._read(reply)

    def parameters(self, installed: Installed, text: str, **more: Any) -> dict[str, Any]:
        if self.name == "completion":
            return installed.chat(text, **more)
        name = "prompt" if self.name == "text_completion" else "input"
        more = {"model": "text-completion-openai/gpt-4o-mini", **more} if name == "prompt" else more
        return installed.call(**{name: text, **more})

    async def _ask_async(self, parameters: dict[str, Any]) -> tuple[str, bool]:
        reply = await getattr(litellm, f"a{self.name}")(**parameters)
        if parameters.get("stream"):
            events = [event async for event in reply]
            result = self._joined(events), False
        else:
            result = self._read(reply)
        await self._written()
        return result

    async def _written(self) -> None:
        """Let LiteLLM finish what it writes after it has answered."""
        from litellm.caching import caching_handler

        for _ in range(100):
            await asyncio.sleep(0.01)
            if not caching_handler._PENDING_CACHE_WRITES:  # noqa: SLF001 - there is no public way
                return

    def _read(self, reply: Any) -> tuple[str, bool]:
        hidden = getattr(reply, "_hidden_params", None) or {}
        hit = hidden.get("cache_hit") if isinstance(hidden, dict) else getattr(hidden, "cache_hit", None)
        if self.name == "responses":
            return reply.output[0].content[0].text, bool(hit)
        choice = reply.choices[0]
        return (choice.message.content if self.name == "completion" else choice.text), bool(hit)

    def _joined(self, events: list[Any]) -> str:
        if self.name == "responses":
            return "".join(event.delta for event in events if event.type == "response.output_text.delta")
        if self.name == "text_completion":
            return "".join(event.choices[0].text or "" for event in events if event.choices)
        return "".join(event.choices[0].delta.content or "" for event in events if event.choices)


CALLS = [Call(name, flag) for name in ("completion", "text_completion", "responses") for flag in (False, True)]
each_call = pytest.mark.parametrize("call", CALLS, ids=repr)


@each_call
def test_the_same_question_in_other_words_is_a_hit(installed: Installed, call: Call) -> None:
    first, hit = call.ask(installed, ASKED)
    assert (first, hit) == ("answer 1", False)
    installed.settle()
    second, hit = call.ask(installed, AGAIN)
    assert (second, hit) == ("answer 1", True)
    assert installed.provider.answers == 1
    assert installed.count("nearhit_lookups_total", tier="semantic", outcome="hit") == 1


@each_call
def test_a_streamed_answer_is_stored_when_complete_and_replayed_as_a_stream(installed: Installed, call: Call) -> None:
    first, _ = call.ask(installed, ASKED, stream=True)
    assert first == "answer 1"
    installed.settle()
    again, _ = call.ask(installed, AGAIN, stream=True)
    assert again == "answer 1"
    assert installed.provider.answers == 1


@each_call
def test_streamed_and_whole_calls_share_an_entry(installed: Installed, call: Call) -> None:
    call.ask(installed, ASKED, stream=True)
    installed.settle()
    text, _ = call.ask(installed, ASKED)
    assert text == "answer 1"
    assert installed.provider.answers == 1
