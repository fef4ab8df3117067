"""LiteLLM judge: any chat model that litellm can call, behind the judge port."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError, JudgeUnavailableError
from nearhit.judge.judge_prompt import SYSTEM, judgement, messages
from nearhit.llm.client import NoRetries, client_timeout, error_types, load_litellm, price, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nearhit.flow.ports import Judgement

PREFIX = "litellm/"
_MAX_TOKENS = 64
_TOKENS_OF_A_REPLY = 20


class LiteLLMJudge:
    """The chat model that litellm calls ``model``, asked for one word and a probability at temperature 0.

    The texts are data to it, in one JSON object. A failed call is not repeated here. Its calls pass every cache of
    litellm by, this one included: a judge that looked its own question up would ask itself.

    Args:
        model: a model string of litellm, for example ``openai/gpt-4o-mini``. Small and without reasoning: its answer
            is on the path of a lookup.
        level: the smallest probability with which ``same`` counts.
        api_base: address of the provider; ``None`` is litellm's own.
        api_key: key; ``None`` lets litellm look in the environment.
        extra: further arguments of ``litellm.completion``, which win over ours.

    Raises:
        ConfigError: ``model`` is empty.
    """

    def __init__(
        self,
        model: str,
        *,
        level: float = 0.5,
        api_base: str | None = None,
        api_key: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        if not model:
            raise ConfigError("the judge's model string is empty")
        self.name = PREFIX + model
        self.model = model
        self._level = level
        self._options = {"api_base": api_base, "api_key": api_key}
        self._extra = dict(extra or {})
        self._litellm: Any = None

    def __repr__(self) -> str:
        return f"LiteLLMJudge({self.model!r}, level={self._level}, api_base={self._options['api_base']!r})"

    def load(self) -> None:
        """Import litellm, 3 to 6 s; later calls cost nothing.

        Raises:
            ConfigError: it is not installed.
        """
        self._litellm = load_litellm()

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return the model's verdict; the first call imports litellm.

        Raises:
            ConfigError: the key, the model or a parameter was refused, or litellm is not installed.
            ContractError: there is no verdict in the reply, or the texts were refused or are too long.
            JudgeUnavailableError: a rate limit, a timeout, a lost connection, an error of the provider's server.
        """
        request = self._request(prompt, candidate, timeout_seconds)
        self.load()
        with self._translated():
            reply = self._litellm.completion(**request)
        return self._read(reply)

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return the model's verdict as ``judge`` does, on the event loop; raises as ``judge`` does."""
        request = self._request(prompt, candidate, timeout_seconds)
        if self._litellm is None:
            await asyncio.to_thread(self.load)  # the import must not hold the event loop
        with self._translated():
            reply = await self._litellm.acompletion(**request)
        return self._read(reply)

    def price(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return what that many tokens cost in dollars by litellm's own table; ``None`` where it has no price."""
        self.load()
        count = partial(
            self._litellm.cost_per_token, model=self.model, prompt_tokens=tokens_in, completion_tokens=tokens_out
        )
        costs = price(count)
        return None if costs is None else float(sum(costs))

    def estimate(self, pairs: Sequence[tuple[str, str]]) -> tuple[int, float | None]:
        """Return about how many tokens judging the pairs takes, four characters each, and what they cost in dollars."""
        characters = sum(len(SYSTEM) + len(prompt) + len(candidate) for prompt, candidate in pairs)
        tokens_in, tokens_out = characters // 4, _TOKENS_OF_A_REPLY * len(pairs)
        return tokens_in + tokens_out, self.price(tokens_in, tokens_out)

    def _request(self, prompt: str, candidate: str, timeout_seconds: float) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": messages(prompt, candidate),
            "temperature": 0,
            "max_tokens": _MAX_TOKENS,
            "timeout": client_timeout(timeout_seconds),
            "max_retries": NoRetries(0),
            "num_retries": 0,
            "stream": False,
            "drop_params": True,  # reasoning models refuse a temperature
            "caching": False,
            "cache": {"no-cache": True, "no-store": True},
            **{name: value for name, value in self._options.items() if value is not None},
            **self._extra,
        }

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except error_types(self._litellm) as error:
            unavailable = JudgeUnavailableError
            raise translate(self._litellm, self.model, error, part="judge", unavailable=unavailable) from error

    def _read(self, reply: Any) -> Judgement:
        choices = getattr(reply, "choices", None)
        text = choices[0].message.content if choices else None
        usage = getattr(reply, "usage", None)
        tokens_in, tokens_out = (int(getattr(usage, f"{kind}_tokens", 0) or 0) for kind in ("prompt", "completion"))
        dollars = self.price(tokens_in, tokens_out) if tokens_in else None
        return judgement(text, self._level, tokens_in + tokens_out, dollars or 0.0)
