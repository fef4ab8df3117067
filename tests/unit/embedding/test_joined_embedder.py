"""Callers who embed at the same time share calls, in threads and in event loops."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import wait_until

from nearhit import Metrics
from nearhit.embedding.call_queue import Limits
from nearhit.embedding.deadline_embedder import DeadlineEmbedder
from nearhit.embedding.joined_embedder import JoinedEmbedder
from nearhit.errors import ConfigError, ContractError, EmbedderBusyError, EmbedderUnavailableError
from nearhit.flow.async_runner import AsyncRunner
from nearhit.flow.gate import Gate
from nearhit.flow.ports import Embeddings
from nearhit.flow.runner import Runner
from nearhit.flow.steps import Embed, Flow
from nearhit.resilience.circuit_breaker import CircuitBreaker
from nearhit.testing import HashEmbedder
from tests.support.threads import no_threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ONE = Limits(calls=1, full_calls=1, texts=64)
GATHERING = Limits(calls=3, full_calls=3, texts=64, characters=1, gather_seconds=0.3)
HASH = HashEmbedder(8)


class Held:
    """The hash embedder, whose calls wait until ``open`` is called, and fail on texts that are named ``bad``."""

    name = "held"

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.cancelled = 0
        self.in_process = False
        self._error = error
        self._gate = threading.Event()

    def open(self) -> None:
        self._gate.set()

    def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.calls.append(tuple(texts))
        self._gate.wait(20)
        return self._say(texts)

    async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
        self.calls.append(tuple(texts))
        try:
            await asyncio.to_thread(self._gate.wait, 20)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self._say(texts)

    def _say(self, texts: Sequence[str]) -> Embeddings:
        if self._error is not None and (len(texts) > 1 or "bad" in texts):
            raise self._error
        return Embeddings(HASH.embed(texts, 1.0).vectors, tokens=len(texts))


def in_loop(scene: Callable[[], Awaitable[Any]]) -> Any:
    """Return what a scene gives, whose blocking callers have as many threads as they want."""

    async def run() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
        return await scene()

    return asyncio.run(run())


def asking(kind: str, embedder: JoinedEmbedder, text: str, seconds: float = 20.0) -> asyncio.Task[Embeddings]:
    """Return a caller of either twin."""
    if kind == "asyncio":
        return asyncio.create_task(embedder.embed_async([text], seconds))
    return asyncio.ensure_future(asyncio.to_thread(embedder.embed, [text], seconds))


async def until(true: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, true, 20, "it happens")


async def until_waiting(kind: str, embedder: Any, count: int) -> None:
    """Return once so many callers wait."""
    here = embedder._threads.get() if kind == "sync" else embedder._loops[asyncio.get_running_loop()]  # noqa: SLF001
    known = here.queue._known  # noqa: SLF001 - no caller can tell that he waits
    await until(lambda: sum(request.waiting for request in list(known.values())) == count)


def right(made: Embeddings, text: str) -> bool:
    same: bool = made.vectors.tolist() == HASH.embed([text], 1.0).vectors.tolist()
    return same


def test_a_caller_alone_has_a_call_of_its_own(kind: str) -> None:
    async def scene() -> None:
        held = Held()
        held.open()
        embedder = JoinedEmbedder(held)
        for text in ("a", "b", "a"):
            assert right(await asking(kind, embedder, text), text)
        assert held.calls == [("a",), ("b",), ("a",)]

    in_loop(scene)


def test_callers_who_come_while_a_call_is_under_way_share_the_next_one(kind: str) -> None:
    async def scene() -> None:
        held = Held()
        embedder = JoinedEmbedder(held, ONE)
        texts = [f"text {number % 20}" for number in range(40)]
        first = asking(kind, embedder, "first")
        await until(lambda: bool(held.calls))
        others = [asking(kind, embedder, text) for text in texts]
        await until_waiting(kind, embedder, 41)
        held.open()
        made = await asyncio.gather(first, *others)
        assert all(map(right, made, ["first", *texts]))
        assert sum(one.calls for one in made) == len(held.calls)
        assert sum(one.tokens for one in made) == sum(map(len, held.calls))
        assert [sorted(call) for call in held.calls] == [["first"], sorted(texts[:20])]

    in_loop(scene)


@pytest.mark.parametrize("busy_seconds", [0.0, 0.2], ids=["at once", "longer than their deadline"])
def test_all_who_ask_in_one_turn_of_a_loop_share_a_call_from_the_start(busy_seconds: float) -> None:
    async def scene() -> None:
        held = Held()
        held.open()
        embedder = JoinedEmbedder(held)

        async def after_work(text: str) -> Embeddings:
            threading.Event().wait(busy_seconds)
            return await embedder.embed_async([text], 0.3)

        assert all(map(right, await asyncio.gather(*map(after_work, "abcd")), "abcd"))
        assert held.calls == [tuple("abcd")]

    in_loop(scene)


def test_a_caller_who_gives_up_ends_nobody_elses_call(kind: str) -> None:
    async def scene() -> None:
        held = Held()
        embedder = JoinedEmbedder(held, ONE)
        patient = asking(kind, embedder, "shared")
        await until(lambda: bool(held.calls))
        with pytest.raises(EmbedderUnavailableError, match=r"held gave no answer within 0\.05 s"):
            await asking(kind, embedder, "shared", 0.05)
        with pytest.raises(EmbedderBusyError, match=r"held: no embedding call came free within 0\.05 s"):
            await asking(kind, embedder, "other", 0.05)
        held.open()
        assert right(await patient, "shared")
        assert held.calls == [("shared",)]

    in_loop(scene)


def test_who_joins_a_call_keeps_his_own_deadline(kind: str) -> None:
    async def scene() -> None:
        held = Held()
        embedder = JoinedEmbedder(DeadlineEmbedder(held), ONE)
        hasty = asking(kind, embedder, "shared", 0.3)
        await until(lambda: bool(held.calls))
        patient = asking(kind, embedder, "shared")
        with pytest.raises(EmbedderUnavailableError):
            await hasty
        await until(lambda: len(held.calls) == 2)
        held.open()
        assert right(await patient, "shared")

    in_loop(scene)


def test_a_thread_makes_no_call_that_takes_longer_than_its_own_deadline() -> None:
    async def scene() -> None:
        held = Held()
        embedder = JoinedEmbedder(held, GATHERING)
        first = asking("sync", embedder, "first")
        await until(lambda: bool(held.calls))
        hasty = asking("sync", embedder, "shared", 1.0)
        await until_waiting("sync", embedder, 2)
        patient = asking("sync", embedder, "shared")
        with pytest.raises(EmbedderUnavailableError, match="within 1 s"):
            await hasty
        held.open()
        assert all(map(right, await asyncio.gather(first, patient), ["first", "shared"]))

    in_loop(scene)


def test_a_thread_begins_the_calls_of_others_before_it_makes_its_own() -> None:
    async def scene() -> None:
        held = Held()
        embedder = JoinedEmbedder(held, GATHERING)
        callers = asyncio.gather(*(asking("sync", embedder, text) for text in "abc"))
        await until(lambda: len(held.calls) == 3)
        held.open()
        assert all(map(right, await callers, "abc"))

    in_loop(scene)


def test_a_cancelled_caller_takes_along_a_call_that_nobody_else_waits_for() -> None:
    async def scene() -> None:
        held = Held()
        embedder = JoinedEmbedder(held, ONE)
        for text in ("a", "b"):
            caller = asking("asyncio", embedder, text)
            await until(lambda text=text: (text,) in held.calls)  # type: ignore[misc]
            caller.cancel()
            again = asking("asyncio", embedder, text, 0.01)  # must not share the call that is being cancelled
            with pytest.raises(EmbedderUnavailableError, match="within"):
                await again
            assert caller.cancelled()
        assert held.cancelled == 4
        held.open()
        assert right(await asking("asyncio", embedder, "a"), "a")

    in_loop(scene)


def test_work_on_the_cpu_keeps_its_place_until_it_ends() -> None:
    async def scene() -> None:
        held = Held()
        held.in_process = True
        embedder = JoinedEmbedder(held, ONE)
        with pytest.raises(EmbedderUnavailableError, match="no answer"):
            await asking("asyncio", embedder, "a", 0.05)
        with pytest.raises(EmbedderBusyError):
            await asking("asyncio", embedder, "b", 0.05)
        assert (held.calls, held.cancelled) == ([("a",)], 0)
        held.open()
        assert right(await asking("asyncio", embedder, "b"), "b")

    in_loop(scene)


@pytest.mark.parametrize(
    "error", [EmbedderUnavailableError("down", retry_after_seconds=3.0), ConfigError("no key")], ids=repr
)
def test_a_call_that_fails_fails_for_each_caller_as_its_own(kind: str, error: Any) -> None:
    async def scene() -> None:
        held = Held(error)
        embedder = JoinedEmbedder(held, ONE)
        first = asking(kind, embedder, "bad")
        await until(lambda: bool(held.calls))
        others = [asking(kind, embedder, text) for text in ("bad", "bad", "b", "c")]
        await until_waiting(kind, embedder, 5)
        held.open()
        raised = await asyncio.gather(first, *others, return_exceptions=True)
        assert {type(one) for one in raised} == {type(error)}
        assert {str(one) for one in raised} == {str(error)}
        assert {getattr(one, "retry_after_seconds", None) for one in raised} == {
            getattr(error, "retry_after_seconds", None)
        }
        assert len({id(one) for one in raised}) == 5
        assert [sorted(call) for call in held.calls] == [["bad"], ["b", "c"]]

    in_loop(scene)


@pytest.mark.parametrize("error", [ContractError("refused"), ValueError("a bug")], ids=repr)
def test_a_bad_text_is_refused_alone(kind: str, error: Exception) -> None:
    async def scene() -> None:
        held = Held(error)
        embedder = JoinedEmbedder(held, ONE)
        first = asking(kind, embedder, "first")
        await until(lambda: bool(held.calls))
        others = [asking(kind, embedder, text) for text in (*"abcdefghijkl", "bad")]
        await until_waiting(kind, embedder, 14)
        held.open()
        *made, bad = await asyncio.gather(first, *others, return_exceptions=True)
        assert all(right(one, text) for one, text in zip(made, ("first", *"abcdefghijkl"), strict=True))  # type: ignore[arg-type]
        assert isinstance(bad, ContractError if isinstance(error, ContractError) else EmbedderUnavailableError)

    in_loop(scene)


def embed(text: str) -> Flow[Any]:
    return (yield Embed((text,)))


@pytest.mark.parametrize("seconds", [20.0, 1.0], ids=["it fails", "it hangs"])
def test_a_breaker_counts_a_joint_failure_once_and_a_lack_of_calls_never(kind: str, seconds: float) -> None:
    async def scene() -> None:
        held = Held(EmbedderUnavailableError("down"))
        embed_breaker, metrics = CircuitBreaker(3), Metrics()
        gate = Gate(CircuitBreaker(3), embed_breaker, metrics, "read")
        embedder: Any = JoinedEmbedder(DeadlineEmbedder(held), ONE)
        dead: Any = None
        run: Any = AsyncRunner(dead, embedder, gate).run
        if kind == "sync":
            blocking: Any = Runner(dead, embedder, gate).run
            run = partial(asyncio.to_thread, blocking)
        callers = [asyncio.ensure_future(run(embed("bad"), seconds))]
        await until(lambda: bool(held.calls))
        callers += [asyncio.ensure_future(run(embed(text), seconds)) for text in ("bad", *"abcdefgh")]
        await until_waiting(kind, embedder, 10)
        if seconds > 1:
            held.open()
        raised = await asyncio.gather(*callers, return_exceptions=True)
        held.open()
        assert all(isinstance(one, EmbedderUnavailableError) for one in raised)
        assert not embed_breaker.open

    in_loop(scene)


def test_answers_are_those_of_the_texts_however_callers_come_and_go(kind: str) -> None:
    """Texts that repeat, callers who give up at random and, in an event loop, are cancelled."""

    class Slow(Held):
        async def embed_async(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
            await asyncio.sleep(random.uniform(0, 0.002))
            return self.embed(texts, timeout_seconds)

    async def scene() -> None:
        held = Slow(ContractError("refused"))
        held.open()
        embedder = JoinedEmbedder(held, Limits(calls=2, full_calls=3, texts=8))

        async def keep_asking(seed: int) -> int:
            drawn, served = random.Random(seed), 0
            for _ in range(40):
                text = drawn.choice(["bad", *(f"text {number}" for number in range(30))])
                caller = asking(kind, embedder, text, drawn.choice([0.0001, 0.002, 20.0]))
                if kind == "asyncio" and drawn.random() < 0.2:
                    asyncio.get_running_loop().call_later(0.001, caller.cancel)
                try:
                    served += right(await caller, text) or pytest.fail("another text's vector")
                except (EmbedderUnavailableError, ContractError, asyncio.CancelledError):
                    continue
            return served

        assert sum(await asyncio.gather(*map(keep_asking, range(50)))) > 500

    in_loop(scene)


def test_a_forked_child_does_not_wait_for_the_calls_of_its_parent() -> None:
    held = Held()
    embedder = JoinedEmbedder(held, ONE)
    caller = threading.Thread(target=embedder.embed, args=(["a"], 20.0))
    caller.start()
    wait_until(lambda: bool(held.calls), 20, "the parent's call is under way")
    child = os.fork()
    if not child:
        held.open()
        os._exit(0 if right(embedder.embed(["a"], 5.0), "a") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    held.open()
    caller.join()


def test_every_event_loop_has_calls_of_its_own() -> None:
    held = Held()
    embedder = JoinedEmbedder(held, ONE)
    first = asyncio.new_event_loop()
    waiting = first.create_task(embedder.embed_async(["a"], 20.0))
    first.run_until_complete(asyncio.sleep(0.01))
    held.open()
    assert right(asyncio.run(embedder.embed_async(["a"], 5.0)), "a")
    assert right(first.run_until_complete(waiting), "a")
    first.close()


def test_without_a_further_thread_callers_make_the_calls_of_others() -> None:
    held = Held()
    embedder = JoinedEmbedder(held, ONE)
    made: dict[str, Embeddings] = {}
    callers = [
        threading.Thread(target=lambda text=text: made.update({text: embedder.embed([text], 20.0)})) for text in "abc"
    ]
    for caller in callers:
        caller.start()
    wait_until(lambda: bool(held.calls), 20, "a call is under way")
    with no_threads():
        held.open()
        for caller in callers:
            caller.join()
    assert all(right(made[text], text) for text in "abc")


def test_it_passes_for_the_embedder_inside() -> None:
    embedder = JoinedEmbedder(HASH)
    assert (embedder.name, embedder.in_process, embedder.sight("a £")) == (HASH.name, True, HASH.sight("a £"))
    assert "HashEmbedder" in repr(embedder)
