"""Health and secrets of a worker."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.app import Process
from nearhit_worker.log_output import Repeats
from nearhit_worker.runtime import WORK_LANES
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import SemanticCache
from nearhit.testing import HashEmbedder
from tests.support.log import hashed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit.flow.ports import Embeddings
    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_worker_whose_work_hangs_is_not_live(settings: Callable[..., Settings], server: ValkeyServer) -> None:
    made = settings(poll_seconds=0.05)
    released = threading.Event()

    class Hanging(HashEmbedder):
        def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
            if "hang" in texts:
                released.wait(20)
            return super().embed(texts, timeout_seconds)

    runtime = hashed(made, embedder=Hanging(64), patience_seconds=0.5)
    process = Process(made, lambda _: runtime)
    process.start_child()  # without the endpoint
    try:
        wait_until(lambda: process.health()["ready"], 10, "the worker is ready")
        with SemanticCache(made) as cache:
            cache.fill("hang", "answer")
        wait_until(lambda: not process.health()["live"], 10, "the stuck worker says so")
        released.set()
        wait_until(lambda: process.health()["live"], 10, "the worker is live again")
    finally:
        released.set()
        process.stop()


def test_a_worker_that_waits_for_a_dead_server_is_live_and_not_ready_and_says_so_once(
    settings: Callable[..., Settings], own_server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    made = settings(url=own_server.url, poll_seconds=0.05)
    own_server.stop()
    runtime = hashed(made, patience_seconds=0.5)
    process = Process(made, lambda _: runtime)
    process.start_child()  # without the endpoint
    try:
        wait_until(lambda: bool(runtime.last_error), 10, "the outage is noticed")
        time.sleep(1.0)
        # the whole process may have been stopped for a moment; one that took waiting for being stuck would stay so
        wait_until(lambda: process.health()["live"], 10, "the worker is live after twice its patience")
        assert not process.health()["ready"]
        assert set(runtime.failures) >= {f"tick_{lane}" for lane in WORK_LANES}
        seen = Repeats()  # as a worker's log has it
        warned = [one.__dict__["action"] for one in caplog.records if one.name == "nearhit" and seen.filter(one)]
        assert 1 <= len(warned) == len(set(warned)), "that the server is down is said once, however often loops look"
        own_server.start()
        wait_until(lambda: process.health()["ready"], 10, "the worker is ready again")
    finally:
        process.stop()


def test_no_secret_and_no_text_is_in_a_log_line_or_a_repr(
    settings: Callable[..., Settings],
    own_server: ValkeyServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    with own_server.client() as client:
        client.config_set("requirepass", "hunter2")
    made = settings(
        url=f"valkey://:wrong-hunter2@127.0.0.1:{own_server.port}/0",
        log_url=f"valkey://:hunter2@127.0.0.1:{own_server.port}/0",
        broker_url=f"redis://:hunter2@127.0.0.1:{own_server.port}/0",
    )
    runtime = hashed(made)
    process = Process(made)
    with SemanticCache(made) as cache:
        cache.lookup("what is the private question")
        cache.fill("what is the private question", "a private answer")
    with pytest.raises(Exception, match=r".") as refused:
        runtime.drain("interactive")
    said = caplog.text + repr(made) + repr(runtime) + repr(process) + repr(refused.value) + repr(cache)
    assert "hunter2" not in said.replace("wrong-hunter2", "hunter2")
    assert "private" not in said
