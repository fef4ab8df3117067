"""LangChain: Nearhit as a cache of LangChain's models, ``set_llm_cache(NearhitCache(SemanticCache.from_env()))``."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache
from langchain_core.messages import message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, Generation

from nearhit.admin import purge
from nearhit.domain.entry import Usage
from nearhit.domain.outcome import FillOutcome, Hit, Miss, MissReason, Tier
from nearhit.domain.question import read_question
from nearhit.domain.scope import MAX_BYTES
from nearhit.errors import EntryError
from nearhit.read.failsafe import Failsafe
from nearhit.read.pending_misses import PendingMisses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.async_cache import AsyncSemanticCache
    from nearhit.cache import SemanticCache

log = logging.getLogger("nearhit")

_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "function"}
_FORM = "langchain/1"
"""Marks what this module stored, and in which form."""


class NearhitCache(BaseCache):  # type: ignore[misc]  # langchain-core is not followed by the type checker
    """A semantic cache for LangChain's models. What ``update`` takes is found once a worker has stored it.

    A model's own parameters are the scope, as LangChain writes them down; of a chat the system prompt and the earlier
    turns are, too. An answer that calls tools is served to the same words only.

    Args:
        cache: reads and writes. ``clear`` empties its namespace: give LangChain one of its own.
        aio: its asyncio twin; without it asyncio calls take ``cache`` in a thread.
        tenant: who the answers belong to.
    """

    def __init__(self, cache: SemanticCache, aio: AsyncSemanticCache | None = None, *, tenant: str = "") -> None:
        self._cache = cache
        self._aio = aio
        self._tenant = tenant
        self._failsafe = Failsafe(cache.metrics)
        self._pending = PendingMisses()

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return the generations of the same question, or one that means the same; ``None`` for a miss."""
        return self._judge(self._cache.lookup(read_chat(prompt), self._scope(llm_string)))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Put generations onto the queue; a worker makes them findable. Empty ones are not stored."""
        asked, answer, usage = self._prepare(prompt, llm_string, return_val)
        if asked is None:
            self._cache.metrics.fills[FillOutcome.BYPASSED].inc()
        elif usage is None:
            self._cache.fill(asked, answer)
        else:
            self._cache.fill(asked, answer, usage=usage)

    def clear(self, **kwargs: Any) -> None:  # noqa: ARG002 - LangChain's signature
        """Remove every entry of the namespace; what waits in the queue is stored after that.

        Raises:
            StoreUnavailableError: the server does not answer.
        """
        purge.remove_all(self._cache.settings)

    async def alookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return generations, as ``lookup`` does."""
        if self._aio is None:
            return await asyncio.to_thread(self.lookup, prompt, llm_string)
        return self._judge(await self._aio.lookup(read_chat(prompt), self._scope(llm_string)))

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Put generations onto the queue, as ``update`` does."""
        if self._aio is None:
            return await asyncio.to_thread(self.update, prompt, llm_string, return_val)
        asked, answer, usage = self._prepare(prompt, llm_string, return_val)
        if asked is None:
            self._cache.metrics.fills[FillOutcome.BYPASSED].inc()
        elif usage is None:
            await self._aio.fill(asked, answer)
        else:
            await self._aio.fill(asked, answer, usage=usage)
        return None

    async def aclear(self, **kwargs: Any) -> None:
        """Remove every entry of the namespace, as ``clear`` does."""
        await asyncio.to_thread(self.clear, **kwargs)

    def _scope(self, llm_string: str) -> dict[str, Any]:
        return {"tenant": self._tenant, "\0langchain": llm_string}

    def _judge(self, outcome: Hit | Miss) -> Sequence[Generation] | None:
        if isinstance(outcome, Miss):
            self._pending.put(outcome)
            return None
        try:
            generations = _read(outcome.answer)
        except Exception as error:  # noqa: BLE001 - what LangChain raises over foreign JSON is not a closed set
            self._failsafe.lookup_broke(error, None)
            return None
        if outcome.tier is Tier.SEMANTIC and any(map(_calls_tools, generations)):
            return None
        return generations

    def _prepare(
        self, prompt: str, llm_string: str, generations: Sequence[Generation]
    ) -> tuple[Miss | None, Any, Usage | None]:
        question = read_question(read_chat(prompt), self._scope(llm_string))
        if isinstance(question, Miss) or not any(one.text.strip() or _calls_tools(one) for one in generations):
            return None, None, None
        try:
            written = [
                {"message": message_to_dict(one.message), "info": one.generation_info}
                if isinstance(one, ChatGeneration)
                else {"text": one.text, "info": one.generation_info}
                for one in generations
            ]
            answer = json.loads(json.dumps({"form": _FORM, "generations": written}))
        except (TypeError, ValueError) as error:
            log.debug("not cached: %s", error, extra={"action": "bypass"})
            return None, None, None
        asked = self._pending.take(question)
        if asked is None:
            asked = question.miss(MissReason.EMPTY)
        return asked, answer, None if any(map(_calls_tools, generations)) else _usage(generations)


def read_chat(prompt: str) -> Any:
    """Return the messages that LangChain wrote into ``prompt``, in the form of chat messages; else the text itself."""
    if len(prompt) > MAX_BYTES:  # a lookup would not digest them
        return prompt
    try:
        rows = json.loads(prompt) if prompt.startswith("[") else None
    except (ValueError, RecursionError):
        return prompt
    if not isinstance(rows, list) or not rows:
        return prompt
    messages = []
    for row in rows:
        written = isinstance(row, dict) and row.get("lc") == 1 and row.get("type") == "constructor"
        said = row.get("kwargs") if written else None
        if not isinstance(said, dict) or "content" not in said:
            return prompt
        messages.append(message_of(said))
    return messages


def message_of(said: dict[str, Any]) -> dict[str, Any]:
    """Return a message of LangChain in the form of a chat message; what is not known to be harmless stays in it."""
    kind = str(said.get("type") or said.get("role") or "")
    role = _ROLES.get(kind.removesuffix("MessageChunk").lower(), said.get("role") or kind)
    rest = {name: value for name, value in said.items() if name not in _NOT_SENT and name not in {"type", "role"}}
    more = rest.pop("additional_kwargs", None)
    if isinstance(more, dict):
        rest["additional_kwargs"] = {name: value for name, value in more.items() if name not in _READ_APART}
        rest["provider_tool_calls"] = more.get("tool_calls")
        rest["function_call"] = more.get("function_call")
    else:
        rest["additional_kwargs"] = more
    return {**rest, "role": role}


_NOT_SENT = frozenset({"response_metadata", "usage_metadata"})
"""What a provider said of an earlier answer, with ids and times of its own; LangChain sends it to no model."""

_READ_APART = frozenset({"tool_calls", "function_call", "__openai_function_call_ids__"})
"""Calls hold ids that differ from run to run; the last of these holds nothing else."""


def _read(answer: Any) -> list[Generation]:
    if not isinstance(answer, dict) or answer.get("form") != _FORM:
        raise EntryError("the entry does not hold LangChain generations")
    return [
        ChatGeneration(message=messages_from_dict([one["message"]])[0], generation_info=one["info"])
        if "message" in one
        else Generation(text=one["text"], generation_info=one["info"])
        for one in answer["generations"]
    ]


def _calls_tools(generation: Generation) -> bool:
    message = getattr(generation, "message", None)
    more = getattr(message, "additional_kwargs", None) or {}
    called = (getattr(message, "tool_calls", None), getattr(message, "invalid_tool_calls", None))
    return any(called) or bool(more.get("tool_calls") or more.get("function_call"))


def _usage(generations: Sequence[Generation]) -> Usage | None:
    counts = [getattr(getattr(one, "message", None), "usage_metadata", None) or {} for one in generations]
    read = sum(int(one.get("input_tokens", 0)) for one in counts)
    written = sum(int(one.get("output_tokens", 0)) for one in counts)
    return Usage(read, written) if read or written else None
