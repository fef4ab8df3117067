"""Single flight: of many processes that ask the same question, one asks the model."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import wait_until

from nearhit import AsyncSemanticCache, SemanticCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


def test_of_many_that_miss_the_same_question_at_once_one_asks_the_model(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    asked: list[int] = []

    def create() -> dict[str, int]:
        asked.append(1)
        time.sleep(0.3)
        return {"answer": 42}

    answers: list[Any] = []
    caches = [SemanticCache(made) for _ in range(3)]
    for cache in caches:
        assert cache.warm_up()
    threads = [
        threading.Thread(target=lambda c=cache: answers.append(c.get_or_create("a question", create)))
        for cache in caches * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for cache in caches:
        cache.close()
    assert answers == [{"answer": 42}] * 12
    assert len(asked) == 1


def test_the_asyncio_twin_asks_once_too_and_a_failure_releases_the_others(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    asked: list[int] = []

    async def create() -> str:
        asked.append(1)
        await asyncio.sleep(0.1)
        if len(asked) == 1:
            raise ValueError("the model failed")
        return "an answer"

    async def ask_all() -> list[Any]:
        async with AsyncSemanticCache(made) as one, AsyncSemanticCache(made) as two:
            assert await one.warm_up()
            assert await two.warm_up()
            asking = [cache.get_or_create("a question", create) for cache in [one, two] * 5]
            found: list[Any] = await asyncio.gather(*asking, return_exceptions=True)
            return found

    answers = asyncio.run(ask_all())
    assert len([one for one in answers if isinstance(one, ValueError)]) == 1
    assert answers.count("an answer") == 9
    assert len(asked) == 2


def test_a_killed_process_that_asks_the_model_releases_the_others(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        pid = os.fork()
        if pid == 0:
            cache.get_or_create("a question", lambda: time.sleep(30))
            os._exit(0)
        with server.client() as client:
            flights = f"nearhit:{{{made.namespace}}}:flight:*"
            wait_until(lambda: bool(list(client.scan_iter(flights))), 20, "the child asks the model")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        started = time.monotonic()
        assert cache.get_or_create("a question", lambda: "an answer") == "an answer"
        assert time.monotonic() - started < 10


def test_a_dead_log_server_holds_no_single_flight(settings: Callable[..., Settings], own_server: ValkeyServer) -> None:
    made = settings(log_url=own_server.url)
    with SemanticCache(made) as cache:
        assert cache.warm_up()
        own_server.stop()
        assert cache.get_or_create("a question", lambda: "an answer") == "an answer"
