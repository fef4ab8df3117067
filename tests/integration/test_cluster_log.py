"""The fill log on a real cluster of three plain servers: every key of a namespace lies on one of them."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import redis
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer, Worker, free_port, wait_until

from nearhit import Hit, Metrics, SemanticCache, Server, Thresholds
from nearhit.cli import main
from nearhit.flow.steps import ReplyError
from nearhit.valkey.cluster import key_of, moved, shares
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_to
from nearhit.write import fill_log
from nearhit.write.refresh_queue import request
from tests.support.cluster import join
from tests.support.faces import Face

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nearhit import Settings

QUESTION = "how do I restore a single file from a backup"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ValkeyServer]]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("cluster-log")
        buses = [free_port() for _ in range(3)]
        found = [
            ValkeyServer(
                folder / str(bus),
                options=("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(bus)),
            )
            for bus in buses
        ]
        for one in found:
            stack.enter_context(one)
        join(found, buses)
        yield found


@pytest.fixture
def server(plain_server: ValkeyServer, nodes: list[ValkeyServer]) -> ValkeyServer:
    """The cache lives on a single server with the local engine, its log on the cluster."""
    return plain_server


@pytest.fixture
def on_cluster(nodes: list[ValkeyServer], settings: Callable[..., Settings]) -> Callable[..., Settings]:
    def make(**changes: object) -> Settings:
        return settings(log_url=f"valkey+cluster://127.0.0.1:{nodes[0].port}", **changes)

    return make


@pytest.fixture
def runtime(on_cluster: Callable[..., Settings]) -> Iterator[Runtime]:
    one = Runtime(on_cluster(), Metrics(namespace=on_cluster().namespace))
    yield one
    one.close()


def send(settings: Settings, *commands: Any) -> list[Any]:
    link = link_to(settings.log_server())
    try:
        return link.send(commands, 5)
    finally:
        link.close()


@pytest.mark.parametrize("lane", ["interactive", "bulk"])
def test_a_fill_goes_through_a_log_on_a_cluster(
    kind: str, lane: str, on_cluster: Callable[..., Settings], runtime: Runtime
) -> None:
    with Face(kind, on_cluster()) as face:
        assert face.warm_up()
        assert face.fill(face.lookup(QUESTION), "open it in the browser of snapshots", lane=lane) == "accepted"
        assert runtime.drain(lane) == 1
        wait_until(lambda: isinstance(face.lookup(f"{QUESTION}, please"), Hit), 5, "the entry to be found")
    assert send(on_cluster(), ("XLEN", runtime.keys.log(lane))) == [0]


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_process_empties_a_log_on_a_cluster_without_a_broker(
    on_cluster: Callable[..., Settings], tmp_path: Path, pool: str
) -> None:
    made = on_cluster()
    variables = {
        "NEARHIT_URL": made.url,
        "NEARHIT_LOG_URL": made.log_url,
        "NEARHIT_NAMESPACE": made.namespace,
        "NEARHIT_MODEL": made.model,
        "NEARHIT_THRESHOLD": "0.8",
        "NEARHIT_POLL_SECONDS": "0.2",
    }
    with Worker(tmp_path, variables, ("--pool", pool)), SemanticCache(made) as cache:
        assert cache.warm_up(20)
        for number in range(100):
            assert cache.fill(f"question {number}", f"answer {number}") == "accepted"
        questions = [f"question {number}" for number in range(100)]
        wait_until(lambda: all(cache.lookup_many(questions)), 20, "all fills to be stored")


def test_a_fill_that_fails_waits_and_is_tried_again(runtime: Runtime, on_cluster: Callable[..., Settings]) -> None:
    keys, now_ms = runtime.keys, time.time_ns() // 1_000_000
    with SemanticCache(on_cluster()) as cache:
        cache.fill(QUESTION, "an answer")
    rows = runtime.log.run(fill_log.read(keys, "interactive", "one", 10, last=True), 5)
    assert runtime.log.run(fill_log.keep(keys, "interactive", "one", rows), 5) == 1
    assert runtime.log.run(fill_log.retry_later(keys, "interactive", [(rows[0], now_ms, 1)]), 5) == 1
    assert runtime.log.run(fill_log.depth(keys, "interactive"), 5).retrying == 1
    assert runtime.drain("interactive") == 1


def test_what_a_silent_worker_held_is_taken_over(runtime: Runtime, on_cluster: Callable[..., Settings]) -> None:
    with SemanticCache(on_cluster()) as cache:
        cache.fill(QUESTION, "an answer")
    assert runtime.log.run(fill_log.read(runtime.keys, "interactive", "gone", 10, last=True), 5)
    other = Runtime(on_cluster(claim_idle_ms=100), Metrics())
    held = fill_log.silent
    wait_until(lambda: bool(other.log.run(held(other.keys, "interactive", 100, 10), 5)), 10, "its worker is silent")
    other.tick("interactive")
    other.close()
    assert runtime.log.run(fill_log.depth(runtime.keys, "interactive"), 5).fills == 0


def test_dead_letters_are_listed_and_replayed(
    runtime: Runtime, on_cluster: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    made = on_cluster()
    assert runtime.accept([{"prompt": "p", "answer": "a"}, {"prompt": "without an answer"}]) == 1
    with SemanticCache(made) as cache:
        cache.fill("another", "answer")
    (row,) = runtime.log.run(fill_log.read(runtime.keys, "interactive", "one", 10, last=True), 5)
    assert runtime.log.run(fill_log.dead_letter(runtime.keys, "interactive", row, "poison", "for the test"), 5) == 1
    where = ["--url", made.url, "--log-url", made.log_url, "--namespace", made.namespace]
    assert main(["dead", "list", "--json", *where]) == 0
    reasons = [json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()]
    assert reasons == ["bad_row", "poison"]
    assert main(["dead", "replay", "--all", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out) == {"replay": 1, "left": 1}
    assert runtime.drain("interactive") == 1
    assert main(["stats", "--json", *where, "--model", made.model]) == 0
    assert json.loads(capsys.readouterr().out)["log"]["dead_letters"] == 1


def test_a_stale_hit_asks_for_a_refresh(runtime: Runtime, on_cluster: Callable[..., Settings]) -> None:
    command = request(runtime.keys, "the entry's key", 1)
    assert send(on_cluster(), command, command) == [1, 0]


def test_a_hit_is_drawn_and_counted_and_a_threshold_set(
    kind: str, on_cluster: Callable[..., Settings], runtime: Runtime
) -> None:
    made = on_cluster(verify_share=1.0, verify_model="no-such-provider/model")
    with Face(kind, made) as face:
        assert face.warm_up()
        face.fill(QUESTION, "open it in the browser of snapshots")
        assert runtime.drain("interactive") == 1
        wait_until(lambda: isinstance(face.lookup(f"{QUESTION}, please"), Hit), 5, "the entry to be found")
        wait_until(lambda: send(made, ("XLEN", runtime.keys.log("verify")))[0] > 0, 5, "the hit to be sent")
        runtime.drain("verify")  # no such model: counted as unjudged, in the step that takes it out of the log
        runtime.measure()
        labels = {"namespace": made.namespace, "verdict": "unjudged"}
        assert (runtime.metrics.registry.get_sample_value("nearhit_verified_hits", labels) or 0) >= 1
        with Thresholds(made) as thresholds:
            thresholds.set(0.99)
        wait_until(lambda: not face.lookup(f"{QUESTION}, please"), 10, "the hit to be refused")


def test_a_transaction_follows_a_slot_that_has_moved(nodes: list[ValkeyServer], namespace: str) -> None:
    keys = LogKeys(namespace)
    link = link_to(Server(url=f"valkey+cluster://127.0.0.1:{nodes[0].port}"))
    commands = [("MULTI",), ("XADD", keys.log("bulk"), "*", "a", 1), ("XADD", keys.dead, "*", "a", 1), ("EXEC",)]
    assert len(link.send(commands, 5)[-1]) == 2
    link.send([("DEL", keys.log("bulk"), keys.dead)], 5)
    with redis.RedisCluster(host="127.0.0.1", port=nodes[0].port) as client:
        slot = client.keyslot(keys.dead)
        old = next(node for node in nodes if node.port == client.get_node_from_key(keys.dead).port)
    new = next(node for node in nodes if node is not old)
    new_id = new.client().execute_command("CLUSTER", "MYID").decode()
    for node in (new, old, *nodes):
        node.client().execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)
    replies = link.send([*commands, ("XLEN", keys.dead)], 5)
    assert len(replies[3]) == 2
    assert replies[4] == 1
    link.close()


def test_a_transaction_that_met_a_moved_slot_is_sent_again_as_a_whole(nodes: list[ValkeyServer]) -> None:
    with redis.RedisCluster(host="127.0.0.1", port=nodes[0].port) as client:
        commands = [("GET", "b"), ("MULTI",), ("XADD", "a", "*", "f", 1), ("EXEC",), ("GET", "c")]
        places = {tuple(share.places) for share in shares(client, commands[1:4], 0)}
        assert places == {(0, 1, 2)}
        there = ReplyError(f"1 127.0.0.1:{nodes[1].port}", "MovedError")
        aborted = ReplyError("Transaction discarded", "ExecAbortError")
        (again,) = moved(client, commands, [None, b"OK", there, aborted, None])
        assert again.places == [1, 2, 3]
        assert again.commands == commands[1:4]
        asked = ReplyError(there.text, "AskError")
        (again,) = moved(client, commands, [None, b"OK", asked, aborted, None])
        assert again.commands == [("ASKING",), *commands[1:4]]


def test_the_key_of_a_log_s_command_is_found() -> None:
    assert key_of(("XREADGROUP", "GROUP", "g", "one", "COUNT", 1, "STREAMS", "the log", ">")) == "the log"
    assert key_of(("XGROUP", "CREATE", "the log", "g", "0")) == "the log"
    assert key_of(("XINFO", "GROUPS", "the log")) == "the log"
    assert key_of(("MULTI",)) is None
