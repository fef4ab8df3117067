"""Refresher: the worker's side of a refresh. Asks the model as the entry says, and writes the entry anew."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import structs

from nearhit.domain import entry
from nearhit.domain.entry import Entry, Usage
from nearhit.domain.outcome import Stored
from nearhit.errors import ConfigError, ContractError, EntryError, MessageError, UnavailableError
from nearhit.flow.steps import Flow, accepted
from nearhit.llm.client import NoRetries, error_types, load_litellm, price, translate
from nearhit.valkey import entry_reader
from nearhit.write import refresh_queue
from nearhit.write.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.runner import Runner
    from nearhit.index.space import Space
    from nearhit.telemetry.metrics import Metrics
    from nearhit.write.acknowledger import Acknowledger, Limits
    from nearhit.write.fill_log import Logged

MAX_BATCH = 8
"""Models asked at once by one batch."""

ASK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, as JSON, and what it cost."""

    response: bytes
    usage: Usage | None


class Refresher:
    """Refreshes entries. Thread-safe.

    Args:
        cache: runs flows against the cache server.
        acknowledger: takes messages out of the log.
        metrics: where it is counted.
        limits: bounds.
        ask: asks a model by a recipe; ``ask_model`` does so through LiteLLM.
    """

    def __init__(
        self,
        cache: Runner,
        acknowledger: Acknowledger,
        metrics: Metrics,
        limits: Limits,
        ask: Callable[[dict[str, Any], bool, float], Answer] | None = None,
    ) -> None:
        self._cache = cache
        self._acknowledger = acknowledger
        self._metrics = metrics
        self._limits = limits
        self._ask = ask or ask_model

    def write(self, rows: Sequence[Logged], lane: str, space: Space) -> int:
        """Refresh the entries that the messages name; return how many were written.

        Raises:
            StoreUnavailableError: the log's server does not answer.
        """
        rows = [row for row in rows if not self._acknowledger.poisonous(row, lane)]
        with ThreadPoolExecutor(max(1, len(rows)), thread_name_prefix="nearhit-ask") as pool:
            return sum(pool.map(lambda row: self._refresh(row, lane, space), rows))

    def _refresh(self, row: Logged, lane: str, space: Space) -> int:
        try:
            stale = self._cache.run(_read(refresh_queue.decode_request(row.blob)), self._limits.store_seconds)
            if stale is None:
                self._acknowledger.ack([row], lane)  # gone, or fresh again
                return 0
            fresh = self._asked_again(stale)
            result = self._cache.run(upsert([fresh], space.keys), self._limits.store_seconds)[0]
        except MessageError as error:
            self._acknowledger.unreadable(row, lane, error)
        except (UnavailableError, ConfigError) as error:
            self._metrics.count_error("refresh", error)
            self._acknowledger.retry_later([row], lane, "model", error)
        except ContractError as error:
            self._acknowledger.dead_letter(row, lane, "model_refused", error)
        else:
            if result is Stored.BUSY:
                self._acknowledger.busy([row], lane)
                return 0
            self._acknowledger.ack([row], lane)
            self._metrics.upserts[lane, result].inc()
            return int(result is Stored.STORED)
        return 0

    def _asked_again(self, stale: Entry) -> Entry:
        as_text = stale.response.lstrip()[:1] == b'"'  # the first answer was a text, so the next one is
        answer = self._ask(_recipe(stale.refresh), as_text, ASK_SECONDS)
        now_us = time.time_ns() // 1000
        life_ms = stale.expires_ms - stale.created_us // 1000
        fresh_ms = stale.fresh_until_ms - stale.created_us // 1000
        return structs.replace(
            stale,
            response=answer.response,
            created_us=now_us,
            expires_ms=now_us // 1000 + life_ms,
            fresh_until_ms=now_us // 1000 + fresh_ms,
            usage=answer.usage or stale.usage,
        )


def ask_model(recipe: dict[str, Any], as_text: bool, timeout_seconds: float) -> Answer:
    """Return what the model says to a recipe: ``{"model": …, "messages": […]}`` and further arguments of LiteLLM.

    Args:
        recipe: arguments of ``litellm.completion``.
        as_text: the answer is the text alone, not the whole response.
        timeout_seconds: longest time of the call.

    Raises:
        UnavailableError: no answer in time, a rate limit, a lost connection.
        ConfigError: a refused key, an unknown model, or litellm is not installed.
        ContractError: the model refuses the messages, or gives no text.
    """
    litellm = load_litellm()
    arguments = {**recipe, "timeout": timeout_seconds, "max_retries": NoRetries(0), "stream": False, "caching": False}
    try:
        reply = litellm.completion(**arguments)
    except error_types(litellm) as error:
        raise translate(litellm, str(recipe.get("model")), error) from error
    said: Any = reply.choices[0].message.content if as_text else reply.model_dump()
    if not said:
        raise EntryError("the model gave no text")
    usage = None
    if (counted := getattr(reply, "usage", None)) is not None:
        dollars = float(price(lambda: litellm.completion_cost(completion_response=reply)) or 0.0)
        usage = Usage(int(counted.prompt_tokens), int(counted.completion_tokens), dollars, str(reply.model))
    return Answer(entry.encode_response(said), usage)


def _read(key: str) -> Flow[Entry | None]:
    """Return the entry at ``key`` when it is stale and says how to ask again."""
    found = accepted((yield from entry_reader.read([key], "refresh", vectors=True))[0], "HMGET")
    now_ms = time.time_ns() // 1_000_000
    if not isinstance(found, Entry) or not found.refresh or not found.fresh_until_ms <= now_ms < found.expires_ms:
        return None
    return found


def _recipe(blob: bytes) -> dict[str, Any]:
    try:
        recipe = json.loads(blob)
    except ValueError as error:
        raise EntryError(f"the recipe of {len(blob)} bytes is not JSON") from error
    if not isinstance(recipe, dict) or not recipe.get("model") or not recipe.get("messages"):
        raise EntryError("the recipe has no model or no messages")
    return recipe
