"""Ports: what flows ask of embedders, judges and servers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nearhit.flow.steps import Command


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What one embedding call gave.

    Attributes:
        vectors: ``(n, dim) float32, unit rows``, in the order of the texts.
        tokens: tokens that the provider counted; 0 where it does not say.
        cost_dollars: price of the call in US dollars; 0.0 where it is unknown.
        calls: calls that this answer counts; 0 where it shared one that another answer counts.
    """

    vectors: NDArray[np.float32]
    tokens: int = 0
    cost_dollars: float = 0.0
    calls: int = 1


class Embedder(Protocol):
    """Turns texts into unit vectors; texts of lookups that ask at the same time come in one call.

    It may say besides how much of a text it reads, with ``sight(text) -> Sight``; of one that does not, a cautious
    assumption is made (``nearhit.domain.sight``). Texts that differ in what was not read share no answer.

    Attributes:
        name: the model string, for example ``local/minilm``.
        in_process: the work is bounded CPU work of this process, so that it may run on the caller's thread.
    """

    name: str
    in_process: bool

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` in one call.

        Raises:
            ContractError: the texts can never be embedded (refused, wrong dimension, NaN).
            EmbedderUnavailableError: no answer within ``timeout_seconds``, a rate limit, a lost connection.
        """

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        """Embed ``texts`` in one call without blocking the event loop; raises as ``embed`` does."""


class Sameness(StrEnum):
    """Whether two questions ask the same. A closed set: it is a metric label."""

    SAME = "same"
    DIFFERENT = "different"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge says of two questions.

    Attributes:
        verdict: ``same`` lets the answer be served; both others do not.
        probability: the chance that they ask the same, 0 to 1.
        tokens: tokens that the provider counted; 0 where it does not say.
        cost_dollars: price of the call in US dollars; 0.0 where it is unknown.
    """

    verdict: Sameness
    probability: float
    tokens: int = 0
    cost_dollars: float = 0.0


class PairJudge(Protocol):
    """Says whether two questions ask the same, so that the answer to one fits the other.

    Called from many threads at once. A call is held to its time limit from outside, whatever it does; one that keeps
    the limit itself costs no thread that hangs.

    Attributes:
        name: what it is, for example ``litellm/openai/gpt-4o-mini``; verdicts are remembered under it.
    """

    name: str

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return whether ``candidate`` asks the same as ``prompt``.

        Args:
            prompt: the question that is asked now.
            candidate: the question whose answer is in the cache.
            timeout_seconds: longest time of the call.

        Raises:
            ContractError: it gave no verdict, or can never give one for these texts.
            JudgeUnavailableError: no answer within ``timeout_seconds``, a rate limit, a lost connection.
        """

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        """Return what ``judge`` returns without blocking the event loop; raises as ``judge`` does."""


class Link(Protocol):
    """A blocking way to a server."""

    def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies as ``ReplyError``.

        Raises:
            StoreUnavailableError: no connection, or no reply within ``timeout_seconds``. Whether the server has done
                the work is then unknown.
        """

    def close(self) -> None:
        """Close the connections that this link opened."""


class AsyncLink(Protocol):
    """An asyncio way to a server; the twin of ``Link``."""

    async def send(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        """Send as ``Link.send`` does, without blocking the loop."""

    async def close(self) -> None:
        """Close the connections that this link opened for the running loop."""
