from __future__ import annotations

import asyncio
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from nearhit.embedding.deadline_embedder import DeadlineEmbedder
from nearhit.errors import ConfigError, ContractError, EmbedderUnavailableError
from nearhit.testing import HashEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nearhit.flow.ports import Embeddings

CALLER: ContextVar[str] = ContextVar("CALLER", default="nobody")


class HeldEmbedder:
    """An embedder whose answers are held until ``gate`` is opened, like those of a dead endpoint."""

    name = "held"
    in_process = False

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.callers: list[str] = []

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.callers.append(CALLER.get())
        self.gate.wait(20)
        return HashEmbedder(8).embed(texts, timeout_seconds)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        await asyncio.sleep(20)
        return HashEmbedder(8).embed(texts, timeout_seconds)


class RefusingEmbedder(HeldEmbedder):
    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        raise ContractError("refused")


def wait_until_idle() -> None:
    def idle() -> bool:
        return all(thread.name != "nearhit-embed" for thread in threading.enumerate())

    wait_until(idle, 5, "no call runs")


def test_an_answer_in_time_is_passed_on() -> None:
    inner = HashEmbedder(8)
    vectors = DeadlineEmbedder(inner).embed(["a text"], 5.0).vectors
    assert vectors.tolist() == inner.embed(["a text"], 5.0).vectors.tolist()


def test_the_wrapped_embedder_keeps_its_name() -> None:
    embedder = DeadlineEmbedder(HeldEmbedder())
    assert (embedder.name, embedder.in_process) == ("held", False)


def test_an_error_is_passed_on_as_it_is() -> None:
    with pytest.raises(ContractError, match="refused"):
        DeadlineEmbedder(RefusingEmbedder()).embed(["a text"], 5.0)


def test_a_hung_embedder_holds_its_caller_no_longer_than_the_deadline() -> None:
    inner = HeldEmbedder()
    start = time.monotonic()
    with pytest.raises(EmbedderUnavailableError, match=r"held gave no answer within 0\.05 s"):
        DeadlineEmbedder(inner).embed(["a text"], 0.05)
    assert time.monotonic() - start < 1.0
    inner.gate.set()


def test_calls_fail_at_once_while_too_many_hang_and_work_again_after() -> None:
    inner = HeldEmbedder()
    embedder = DeadlineEmbedder(inner, max_abandoned=2)
    for _ in range(2):
        with pytest.raises(EmbedderUnavailableError, match="no answer"):
            embedder.embed(["a text"], 0.02)
    start = time.monotonic()
    with pytest.raises(EmbedderUnavailableError, match="2 earlier calls still hang"):
        embedder.embed(["a text"], 10.0)
    assert time.monotonic() - start < 1.0
    assert len(inner.callers) == 2
    inner.gate.set()
    wait_until_idle()
    assert embedder.embed(["a text"], 5.0).vectors.shape == (1, 8)


def test_the_call_sees_the_context_of_its_caller() -> None:
    inner = HeldEmbedder()
    inner.gate.set()
    token = CALLER.set("this test")
    DeadlineEmbedder(inner).embed(["a text"], 5.0)
    CALLER.reset(token)
    assert inner.callers == ["this test"]


def test_a_hung_coroutine_is_cancelled_at_the_deadline() -> None:
    with pytest.raises(EmbedderUnavailableError, match=r"held gave no answer within 0\.05 s"):
        asyncio.run(DeadlineEmbedder(HeldEmbedder()).embed_async(["a text"], 0.05))


def test_a_bound_of_nothing_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="max_abandoned=0"):
        DeadlineEmbedder(HeldEmbedder(), max_abandoned=0)
