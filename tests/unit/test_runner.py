"""The runners: what an embedder or a server does wrong comes into a flow by our names, in both alike."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nearhit import Metrics
from nearhit.errors import BusyError, ConfigError, ContractError, EmbedderUnavailableError, StoreUnavailableError
from nearhit.flow.async_runner import AsyncRunner
from nearhit.flow.gate import Gate
from nearhit.flow.ports import Embeddings
from nearhit.flow.runner import Runner
from nearhit.flow.steps import Embed, Flow, Send
from nearhit.resilience.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Says:
    """An embedder that gives whatever ``make`` makes."""

    name, in_process = "says/1", True

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        return Embeddings(self._make())

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        return self.embed(texts, timeout_seconds)


class Dead:
    """A server that never answers, under the blocking and the asyncio face."""

    def __init__(self, error: StoreUnavailableError) -> None:
        self._error = error

    def send(self, commands: object, timeout_seconds: float) -> list[Any]:
        raise self._error

    def close(self) -> None: ...


class DeadAsync:
    def __init__(self, error: StoreUnavailableError) -> None:
        self._error = error

    async def send(self, commands: object, timeout_seconds: float) -> list[Any]:
        raise self._error

    async def close(self) -> None: ...


class Runs:
    """Runs flows on either runner."""

    def __init__(
        self, kind: str, make: Callable[[], Any], failures: int = 3, error: StoreUnavailableError | None = None
    ) -> None:
        error = error or StoreUnavailableError("no reply")
        self.metrics = Metrics()
        gate = Gate(CircuitBreaker(failures), CircuitBreaker(failures), self.metrics, "read")
        self._sync = Runner(Dead(error), Says(make), gate) if kind == "sync" else None
        self._async = AsyncRunner(DeadAsync(error), Says(make), gate)

    def run(self, flow: Flow[Any], seconds: float = 5.0) -> Any:
        if self._sync is not None:
            return self._sync.run(flow, seconds)
        return asyncio.run(self._async.run(flow, seconds))

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"namespace": "default", **labels}) or 0.0


def embed(*texts: str) -> Flow[Any]:
    return (yield Embed(texts)).vectors


def send() -> Flow[Any]:
    return (yield Send((("PING",),)))


def raising(error: BaseException) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


def test_vectors_that_an_embedder_did_not_scale_have_length_one(kind: str) -> None:
    made = Runs(kind, lambda: [[3.0, 4.0], [0.0, -7.0]]).run(embed("a", "b"))
    assert made.dtype == np.float32
    assert np.allclose(made, [[0.6, 0.8], [0.0, -1.0]])


@pytest.mark.parametrize(
    "given",
    [[[float("nan"), 1.0]], [[float("inf"), 1.0]], [[0.0, 0.0]], [[1.0], [1.0]], [], [1.0, 0.0], None, "text", [["a"]]],
    ids=str,
)
def test_what_is_no_vector_for_each_text_is_a_contract_error(kind: str, given: Any) -> None:
    runs = Runs(kind, lambda: given)
    with pytest.raises(ContractError):
        runs.run(embed("a"))
    assert (
        sum(runs.count("nearhit_errors_total", stage="embed", kind=name) for name in ("VectorError", "ContractError"))
        == 1
    )


@pytest.mark.parametrize("error", [RuntimeError("broken"), ValueError("x"), KeyError("y"), OSError("z")], ids=repr)
def test_whatever_an_embedder_raises_is_its_unavailability(kind: str, error: Exception) -> None:
    with pytest.raises(EmbedderUnavailableError, match=f"says/1 raised {type(error).__name__}"):
        Runs(kind, raising(error)).run(embed("a"))


@pytest.mark.parametrize("error", [ConfigError("no such model"), ContractError("refused")], ids=repr)
def test_an_error_of_our_tree_keeps_its_name(kind: str, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        Runs(kind, raising(error)).run(embed("a"))


def test_failures_in_a_row_open_the_breaker_of_that_part_alone(kind: str) -> None:
    runs = Runs(kind, lambda: [[1.0]])
    for _ in range(3):
        with pytest.raises(StoreUnavailableError, match="no reply"):
            runs.run(send())
    with pytest.raises(StoreUnavailableError, match="breaker of store is open"):
        runs.run(send())
    assert runs.count("nearhit_breaker_open", part="store") == 1
    assert runs.count("nearhit_errors_total", stage="store", kind="StoreUnavailableError") == 3
    assert runs.run(embed("a")).tolist() == [[1.0]]


def test_a_lack_of_free_connections_is_counted_and_opens_no_breaker(kind: str) -> None:
    runs = Runs(kind, lambda: [[1.0]], error=BusyError("all connections are in use"))
    for _ in range(10):
        with pytest.raises(BusyError, match="all connections are in use"):
            runs.run(send())
    assert runs.count("nearhit_breaker_open", part="store") == 0
    assert runs.count("nearhit_errors_total", stage="store", kind="BusyError") == 10


def test_a_step_without_time_left_is_refused_and_not_held_against_its_part(kind: str) -> None:
    runs = Runs(kind, lambda: [[1.0]])
    for _ in range(5):
        with pytest.raises(BusyError, match="deadline has passed before embed"):
            runs.run(embed("a"), 0.0)
        with pytest.raises(BusyError, match="deadline has passed before store"):
            runs.run(send(), 0.0)
    assert runs.count("nearhit_breaker_open", part="store") == 0
    assert runs.run(embed("a")).tolist() == [[1.0]]


def test_the_time_of_a_step_is_counted_under_its_stage(kind: str) -> None:
    stages: dict[str, float] = {}
    slow = Says(lambda: time.sleep(0.01) or [[1.0]])  # type: ignore[func-returns-value]
    dead = Dead(StoreUnavailableError("no reply"))
    shell = Runner(dead, slow, Gate(CircuitBreaker(), CircuitBreaker(), Metrics(), "read"))
    shell.run(embed("a"), 5.0, stages)
    assert stages["embed"] >= 0.01
