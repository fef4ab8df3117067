"""A judge that asks through LiteLLM, while this cache is LiteLLM's own: it must not look its own question up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.judge_server import SAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.chat_server import ChatServer


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_the_judges_calls_pass_the_cache_by(
    installs: Callable[..., Any], provider: ChatServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import litellm

    monkeypatch.setenv("OPENAI_API_BASE", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    judge = {"judge": "litellm/openai/gpt-4o-mini", "judge_deadline_ms": 5_000, "deadline_ms": 6_000}
    installed = installs(threshold=0.6, model="hash/256", **judge)
    call = installed.chat("how do i reset the password of my account")
    litellm.completion(**call)
    installed.settle()
    lookups = installed.count("nearhit_lookups_total", tier="none", outcome="empty")
    provider.text = SAME  # the next one that is asked is the judge
    again = installed.chat("how do i reset the password of my old account")
    said = installed.run(litellm.acompletion(**again)) if kind == "asyncio" else litellm.completion(**again)
    assert said.choices[0].message.content == "answer 1"
    assert [len(body["messages"]) for _, body in provider.asked] == [1, 2]
    assert json.loads(provider.asked[-1][1]["messages"][-1]["content"])["asked"] == again["messages"][0]["content"]
    assert installed.count("nearhit_lookups_total", tier="none", outcome="empty") == lookups
    assert installed.count("nearhit_judgements_total", verdict="same", source="asked") == 1
    assert installed.accepted == 1
