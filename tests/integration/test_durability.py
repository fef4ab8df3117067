"""Durability: with ``fsync`` a fill is accepted only when the log's server has confirmed that its disk has it."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer, Worker, free_port, wait_until

from nearhit import AsyncSemanticCache, FillOutcome, Metrics, SemanticCache
from nearhit.bulk.load import LoadOptions, load_files
from nearhit.bulk.loader import Pace
from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.flow.steps import Send
from nearhit.valkey.durability import check_trial, confirmed, trial_commands
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_to
from tests.support.cluster import join
from tests.support.faces import Face
from tests.support.slow_disk import SlowDiskServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nearhit import Settings

FILLS = 32


@pytest.fixture
def server(plain_server: ValkeyServer) -> ValkeyServer:
    """The cache's server; each test has a log's server of its own."""
    return plain_server


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SlowDiskServer]:
    """A log's server that syncs at every write, to a disk that may be slowed down."""
    with SlowDiskServer(tmp_path / "log", durable=True, appendfsync="always") as one:
        yield one


@pytest.fixture
def made(settings: Callable[..., Settings]) -> Callable[..., Settings]:
    """Settings with durability ``fsync``."""

    def make(log: ValkeyServer, **changes: object) -> Settings:
        return settings(log_url=log.url, durability="fsync", broker_url="memory://", **changes)

    return make


def in_log(log: ValkeyServer, settings: Settings) -> int:
    with log.client() as client:
        return int(client.xlen(LogKeys(settings.namespace).log("interactive")))


def calls(log: ValkeyServer, command: str) -> int:
    with log.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0))


@pytest.mark.parametrize("how", ["always", "everysec"])
def test_a_fill_is_accepted_when_the_server_has_confirmed_it(
    kind: str, how: str, tmp_path: Path, made: Callable[..., Settings]
) -> None:
    with ValkeyServer(tmp_path, durable=True, appendfsync=how) as log:
        settings = made(log, enqueue_deadline_ms=5_000)
        with Face(kind, settings) as face:
            assert face.fill("a question", "an answer") is FillOutcome.ACCEPTED
        assert in_log(log, settings) == 1
        assert calls(log, "waitaof") == 2  # the trial and the fill's own


def test_a_fill_without_the_setting_waits_for_no_disk(
    kind: str, log: SlowDiskServer, settings: Callable[..., Settings]
) -> None:
    with Face(kind, settings(log_url=log.url, broker_url="memory://")) as face:
        assert face.fill("a question", "an answer") is FillOutcome.ACCEPTED
    assert calls(log, "waitaof") == 0


def test_a_slow_disk_leaves_a_fill_spooled_at_the_deadline_and_accepts_it_later_once(
    kind: str, log: SlowDiskServer, made: Callable[..., Settings]
) -> None:
    settings = made(log, enqueue_deadline_ms=100)
    with Face(kind, settings) as face:
        wait_until(lambda: face.fill("a question", "an answer") is FillOutcome.ACCEPTED, 10, "the connection is open")
        before = in_log(log, settings)
        log.fsync_seconds = 0.5
        started = time.monotonic()
        assert face.fill("another question", "an answer") is FillOutcome.SPOOLED
        assert time.monotonic() - started < 0.4
        labels = {"namespace": settings.namespace, "outcome": "accepted"}
        accepted = face.metrics.registry.get_sample_value("nearhit_fills_total", labels)
        wait_until(lambda: in_log(log, settings) > before, 10, "the fill is in the log")

        def counted() -> bool:
            return face.metrics.registry.get_sample_value("nearhit_fills_total", labels) == (accepted or 0) + 1

        wait_until(counted, 10, "the fill is confirmed")
    assert in_log(log, settings) == before + 1


def test_threads_share_confirmations(log: SlowDiskServer, made: Callable[..., Settings]) -> None:
    settings = made(log, enqueue_deadline_ms=10_000)
    found: list[FillOutcome] = []
    with SemanticCache(settings) as cache:
        assert cache.fill("the connection is open", "an answer") is FillOutcome.ACCEPTED
        log.fsync_seconds = 0.2
        before = calls(log, "waitaof")
        threads = [
            threading.Thread(target=lambda n=number: found.append(cache.fill(f"question {n}", "an answer")))
            for number in range(FILLS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.fsync_seconds = 0.0
    assert found == [FillOutcome.ACCEPTED] * FILLS
    assert calls(log, "waitaof") - before <= 5
    assert in_log(log, settings) == FILLS + 1


def test_tasks_share_confirmations_and_block_no_loop(log: SlowDiskServer, made: Callable[..., Settings]) -> None:
    settings = made(log, enqueue_deadline_ms=10_000)

    async def fill_at_once() -> tuple[list[FillOutcome], int]:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.005)
                turns += 1

        async with AsyncSemanticCache(settings) as cache:
            assert await cache.fill("the connection is open", "an answer") is FillOutcome.ACCEPTED
            log.fsync_seconds = 0.2
            other = asyncio.create_task(turn())
            found = await asyncio.gather(*(cache.fill(f"question {number}", "an answer") for number in range(FILLS)))
            other.cancel()
            log.fsync_seconds = 0.0
            return list(found), turns

    found, turns = asyncio.run(fill_at_once())
    assert found == [FillOutcome.ACCEPTED] * FILLS
    assert calls(log, "waitaof") <= 2 + 5
    assert turns > 5
    assert in_log(log, settings) == FILLS + 1


def test_without_a_spool_each_fill_waits_for_its_own_confirmation(
    kind: str, log: SlowDiskServer, made: Callable[..., Settings]
) -> None:
    settings = made(log, spool_max_fills=0, enqueue_deadline_ms=200)
    with Face(kind, settings) as face:
        wait_until(lambda: face.fill("a question", "an answer") is FillOutcome.ACCEPTED, 10, "the connection is open")
        log.fsync_seconds = 0.5
        assert face.fill("another question", "an answer") is FillOutcome.DROPPED
        log.fsync_seconds = 0.0


def test_a_server_without_an_append_only_file_is_given_no_fill_until_it_has_one(
    kind: str, tmp_path: Path, made: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    with ValkeyServer(tmp_path) as log:
        settings = made(log, enqueue_deadline_ms=1_000)
        log.stop()
        with Face(kind, settings) as face, log.client() as client:
            assert face.fill("a question", "an answer") is FillOutcome.SPOOLED
            log.start()  # to say only that it is away would hide that it stays so
            wait_until(lambda: "it needs appendonly yes" in caplog.text, 10, "the reason is logged")
            assert in_log(log, settings) == 0
            client.config_set("appendonly", "yes")
            wait_until(lambda: in_log(log, settings) == 1, 10, "the fill is sent")
        said = [record for record in caplog.records if "no fill is accepted" in record.getMessage()]
        assert len(said) == 1


@pytest.mark.parametrize(("durable", "how"), [(False, "always"), (True, "no")])
def test_a_server_that_cannot_confirm_is_told_from_one_that_is_away(
    durable: bool, how: str, tmp_path: Path, made: Callable[..., Settings]
) -> None:
    with ValkeyServer(tmp_path, durable=durable, appendfsync=how) as log:
        keys, link = LogKeys("n"), link_to(made(log).log_server())
        replies = link.send(trial_commands(keys, 0.3), 5.0)
        with pytest.raises(ConfigError, match="appendfsync" if durable else "appendonly yes"):
            check_trial(keys, replies, 0.3)
        link.close()


def test_a_worker_does_not_start_with_a_log_that_cannot_confirm(
    tmp_path: Path, server: ValkeyServer, made: Callable[..., Settings]
) -> None:
    with ValkeyServer(tmp_path / "log") as log:
        settings = made(log)
        variables = {
            "NEARHIT_URL": settings.url,
            "NEARHIT_LOG_URL": log.url,
            "NEARHIT_NAMESPACE": settings.namespace,
            "NEARHIT_MODEL": settings.model,
            "NEARHIT_THRESHOLD": "0.8",
            "NEARHIT_DURABILITY": "fsync",
        }
        worker = Worker(tmp_path / "worker", variables)
        worker.spawn()
        assert worker.child is not None
        assert worker.child.process.wait(60) == 2
        assert "it needs appendonly yes" in worker.child.log_path.read_text()


def test_rows_of_other_celery_clients_wait_for_the_disk_too(log: SlowDiskServer, made: Callable[..., Settings]) -> None:
    settings = made(log)
    runtime = Runtime(settings, Metrics(namespace=settings.namespace))
    try:
        assert runtime.accept([{"prompt": "a question", "answer": "an answer"}]) == 1
        assert calls(log, "waitaof") == 1
        with log.client() as client:
            client.config_set("appendonly", "no")
        with pytest.raises(StoreUnavailableError, match="appendonly yes"):
            runtime.accept([{"prompt": "another question", "answer": "an answer"}])
    finally:
        runtime.close()


def test_a_load_is_confirmed_batch_by_batch(log: SlowDiskServer, made: Callable[..., Settings], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "question {number}", "answer": "an answer"}}\n' for number in range(20)))
    options = LoadOptions(pace=Pace(batch=10))
    assert load_files(made(log), [str(rows)], options).accepted == 20
    assert calls(log, "waitaof") == 3  # the trial and two batches
    with log.client() as client:
        client.config_set("appendonly", "no")
    with pytest.raises(ConfigError, match="appendonly yes"):
        load_files(made(log), [str(rows)], options)


def test_what_is_not_confirmed_in_time_is_no_success() -> None:
    def adds() -> Any:
        replies = yield Send((("XADD", "log", "*", "m", b""),))
        return replies

    flow = confirmed(adds(), 2.0)
    assert next(flow).commands[-1] == ("WAITAOF", 1, 0, 2000)  # type: ignore[union-attr]  # it sends
    with pytest.raises(StoreUnavailableError, match="did not confirm in time"):
        flow.send([b"1-1", [0, 0]])


def test_on_a_cluster_the_confirmation_is_asked_of_the_node_that_has_the_log(
    kind: str, tmp_path: Path, made: Callable[..., Settings]
) -> None:
    buses = [free_port() for _ in range(3)]
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port")
    nodes = [ValkeyServer(tmp_path / str(bus), durable=True, options=(*options, str(bus))) for bus in buses]
    with nodes[0], nodes[1], nodes[2]:
        join(nodes, buses)
        url = f"valkey+cluster://127.0.0.1:{nodes[0].port}"
        settings = replace(made(nodes[0], enqueue_deadline_ms=5_000), log_url=url)
        with Face(kind, settings) as face:
            for number in range(5):
                assert face.fill(f"question {number}", "an answer") is FillOutcome.ACCEPTED
        asked = [(calls(node, "xadd"), calls(node, "waitaof")) for node in nodes]
    assert sorted(asked) == [(0, 0), (0, 0), (5, 6)]


def test_waitaof_answers_under_everysec_before_a_sync_has_begun(tmp_path: Path) -> None:
    """Valkey 9.1.2 and before: docs/write-path.md says so. When this fails, the server's fault is mended: say that."""
    with SlowDiskServer(tmp_path, durable=True) as log, log.client() as client:
        early = 0
        for _ in range(20):
            before = log.syncs
            client.set("key", "value")
            client.execute_command("WAITAOF", 1, 0, 3_000)
            early += log.syncs == before
    assert early > 0
