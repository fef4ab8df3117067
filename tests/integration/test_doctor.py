"""The doctor's checks against real servers that are set wrong in one way each."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis
from nearhit_worker.stack import ValkeyServer

from nearhit.cli import main, path_checks, server_checks
from nearhit.cli.finding import Finding, Status, address_of, address_of_url, is_loopback
from nearhit.cli.servers import Servers
from nearhit.settings import Settings
from nearhit.valkey.server import Server
from tests.support.slow_disk import SlowDiskServer
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def servers(settings: Callable[..., Settings]) -> Iterator[Servers]:
    """Both servers of a namespace of the test's own."""
    with Servers(settings(poll_seconds=0.1)) as both:
        yield both


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A server that the test may set as it likes."""
    with ValkeyServer(tmp_path_factory.mktemp("other")) as server:
        yield server


def cache_findings(url: str, **changes: object) -> dict[str, Finding]:
    values: dict[str, object] = {"threshold": 0.8, "url": url, "model": "hash/64", **changes}
    with Servers(Settings.from_env({}, **values)) as both:
        found = [*server_checks.check_cache_server(both), *server_checks.check_log_server(both)]
        return {one.check: one for one in found}


def test_a_server_as_it_comes_passes_but_for_its_durability(plain_server: ValkeyServer) -> None:
    found = cache_findings(plain_server.url)
    assert {name for name, one in found.items() if one.status is not Status.PASS} == {"log durability"}
    assert "none: the local engine" in found["search module"].text


def test_a_server_that_is_away_is_one_failure_that_says_what_to_set() -> None:
    found = cache_findings("valkey://127.0.0.1:1")
    assert {name: one.status for name, one in found.items()} == {
        "cache server": Status.FAIL,
        "log server": Status.FAIL,
    }
    assert "NEARHIT_URL" in found["cache server"].advice


def test_a_user_of_few_rights_is_told_from_a_server_that_is_away(other: ValkeyServer) -> None:
    with other.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@connection")
        client.execute_command("ACL", "SETUSER", "nobody", "on", ">secret")
    found = cache_findings(f"valkey://reader:secret@127.0.0.1:{other.port}")
    assert "does not tell" in found["log durability"].text
    found = cache_findings(f"valkey://nobody:secret@127.0.0.1:{other.port}")
    assert all("ACL SETUSER" in found[name].advice for name in ("cache server", "log server"))


def test_a_broker_that_hangs_is_given_up(other: ValkeyServer) -> None:
    assert other.child is not None
    other.child.process.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        (found,) = path_checks.check_broker(Settings.from_env({}, threshold=0.8, url=other.url))
        assert found.status is Status.FAIL
        assert time.monotonic() - started < 20
    finally:
        other.child.process.send_signal(signal.SIGCONT)


def test_a_server_that_wants_a_password_is_told_from_one_that_is_away(other: ValkeyServer) -> None:
    with other.client() as client:
        client.config_set("requirepass", "pw")
        refused, let_in = cache_findings(other.url), cache_findings(f"valkey://:pw@127.0.0.1:{other.port}")
        client.execute_command("AUTH", "pw")
    assert "put a user and a password into its url" in refused["cache server"].text
    assert let_in["cache server"].status is Status.PASS


def test_a_read_only_replica_is_named_with_its_primary(plain_server: ValkeyServer, other: ValkeyServer) -> None:
    with other.client() as client:
        client.replicaof("127.0.0.1", str(plain_server.port))
    found = cache_findings(other.url)["role"]
    assert (found.status, found.text) == (
        Status.FAIL,
        f"a replica of 127.0.0.1:{plain_server.port}: it takes no writes",
    )


@pytest.mark.parametrize(
    ("policy", "memory", "log"),
    [
        ("noeviction", Status.WARN, Status.WARN),
        ("volatile-lfu", Status.PASS, Status.WARN),
        ("allkeys-lru", Status.WARN, Status.FAIL),
    ],
)
def test_an_eviction_policy_is_judged_for_the_cache_and_for_the_log(
    policy: str, memory: Status, log: Status, other: ValkeyServer
) -> None:
    with other.client() as client:
        client.config_set("maxmemory", "64mb", "maxmemory-policy", policy)
    found = cache_findings(other.url)
    assert (found["memory"].status, found["log memory"].status) == (memory, log)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("everysec", "a killed server loses what it had not written while an fsync was slow"),
        ("always", "on the disk before it is accepted"),
        ("no", "never synced"),
    ],
)
def test_a_log_of_its_own_that_is_durable_passes_and_what_it_may_lose_is_said(
    plain_server: ValkeyServer, tmp_path: Path, how: str, said: str
) -> None:
    with ValkeyServer(tmp_path, durable=True, appendfsync=how) as log:
        found = cache_findings(plain_server.url, log_url=log.url)
    assert (found["log durability"].status, found["log memory"].status) == (Status.PASS, Status.PASS)
    assert found["log durability"].text.startswith(f"durability write, append-only file on, appendfsync {how}: ")
    assert said in found["log durability"].text


def test_a_log_that_is_not_synced_during_a_rewrite_is_warned_of(plain_server: ValkeyServer, tmp_path: Path) -> None:
    options = ("--no-appendfsync-on-rewrite", "yes")
    with ValkeyServer(tmp_path, durable=True, appendfsync="always", options=options) as log:
        found = cache_findings(plain_server.url, log_url=log.url)["log durability"]
    assert (found.status, "no-appendfsync-on-rewrite yes" in found.text) == (Status.WARN, True)


@pytest.mark.parametrize(
    ("durable", "how", "status", "said"),
    [
        (False, "always", Status.FAIL, "append-only file off"),
        (True, "always", Status.PASS, "confirmed within"),
        (True, "everysec", Status.WARN, "confirmed within"),
        (True, "no", Status.FAIL, "appendfsync is 'no'"),
    ],
)
def test_a_log_that_must_confirm_each_fill_is_tried(
    durable: bool, how: str, status: Status, said: str, plain_server: ValkeyServer, tmp_path: Path
) -> None:
    with ValkeyServer(tmp_path, durable=durable, appendfsync=how) as log:
        changes = {"log_url": log.url, "durability": "fsync", "enqueue_deadline_ms": 1_000}
        found = cache_findings(plain_server.url, **changes)["log durability"]
    assert (found.status, said in found.text) == (status, True), found


def test_a_deadline_that_is_too_short_for_the_disk_is_named(plain_server: ValkeyServer, tmp_path: Path) -> None:
    with SlowDiskServer(tmp_path, durable=True, appendfsync="always", fsync_seconds=0.2) as log:
        found = cache_findings(plain_server.url, log_url=log.url, durability="fsync")["log durability"]
    assert found.status is Status.WARN
    assert "NEARHIT_ENQUEUE_DEADLINE_MS" in found.advice


def test_rights_are_not_tried_at_a_broker_whose_url_only_kombu_knows(plain_server: ValkeyServer) -> None:
    url = f"redis://127.0.0.1:{plain_server.port}/0"
    values = {"threshold": 0.8, "url": plain_server.url, "broker_url": f"{url};{url}"}
    found = list(path_checks.check_broker(Settings.from_env({}, **values)))
    assert (found[0].check, found[0].status) == ("broker", Status.PASS)
    assert (found[-1].check, found[-1].status) == ("broker rights", Status.PASS)
    assert "not tried" in found[-1].text


def test_a_search_engine_that_is_asked_for_and_not_there_is_a_failure(plain_server: ValkeyServer) -> None:
    found = cache_findings(plain_server.url, engine="valkey-search")["search module"]
    assert (found.status, "NEARHIT_ENGINE" in found.advice) == (Status.FAIL, True)


def test_the_search_module_is_named_with_its_version(search_server: ValkeyServer) -> None:
    found = cache_findings(search_server.url)
    assert found["search module"].text.startswith("valkey-search 1.")
    assert found["cache rights"].status is Status.PASS


def test_a_user_without_search_rights_is_told_which_are_missing(search_server: ValkeyServer) -> None:
    with search_server.client() as client:
        client.acl_setuser(
            "reader", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-FT.CREATE", "-FT.DROPINDEX"]
        )
    found = cache_findings(f"valkey://reader:pw@127.0.0.1:{search_server.port}")["cache rights"]
    assert found.status is Status.FAIL
    assert found.text == "the user reader lacks +ft.create, +ft.dropindex"


@pytest.mark.parametrize(
    ("packed", "status"), [("66049", Status.PASS), ("66048", Status.WARN), ("65536", Status.WARN), ("", Status.PASS)]
)
def test_a_module_older_than_1_2_1_is_warned_of(packed: str, status: Status) -> None:
    found = server_checks.judge_search_version(packed)
    assert found.status is status
    assert ("COSINE" in found.advice) is (status is Status.WARN)


def test_without_a_worker_the_path_is_walked_by_the_doctor_and_nothing_stays(servers: Servers) -> None:
    found = path_checks.check_path(servers, by_worker=False)
    with redis.Redis.from_url(servers.settings.server().plain_url) as client:
        assert list(client.scan_iter("nearhit*doctor-*", count=1000)) == []
    assert (found.check, found.status, "a rewording hit" in found.text) == ("self-test", Status.PASS, True)


def test_a_namespace_that_no_worker_looks_at_is_a_failure(servers: Servers) -> None:
    found = path_checks.check_workers(servers, wait_seconds=0.1)
    assert (found.status, "nearhit worker" in found.advice) == (Status.FAIL, True)


def test_an_embedder_for_tests_is_warned_of(servers: Servers) -> None:
    found = path_checks.check_embedder(servers.settings)
    assert (found.status, "64 dimensions" in found.text) == (Status.WARN, True)


def test_a_broker_that_is_away_is_a_failure_and_one_that_answers_passes(servers: Servers) -> None:
    there = list(path_checks.check_broker(servers.settings))
    away = list(path_checks.check_broker(replace(servers.settings, broker_url="redis://127.0.0.1:1/0")))
    assert [one.status for one in (*there, *away)] == [Status.PASS, Status.PASS, Status.FAIL]


@pytest.mark.parametrize(
    ("url", "host", "with_password", "loopback"),
    [
        ("valkey://127.0.0.1:6379", "127.0.0.1", False, True),
        ("valkeys://user:secret@cache.example:6380/1", "cache.example", True, False),
        ("redis://10.1.2.3", "10.1.2.3", False, False),
        ("redis://[::1]:6379", "::1", False, True),
        ("unix:///tmp/socket", "", True, True),
    ],
)
def test_an_address_tells_who_can_reach_it_and_whether_a_password_goes_with_it(
    url: str, host: str, with_password: bool, loopback: bool
) -> None:
    assert address_of(Server(url=url)) == (host, with_password)
    assert is_loopback(host) is loopback
    warnings = list(server_checks.check_password("cache server", host, with_password))
    assert bool(warnings) is (not loopback and not with_password)


def test_a_rabbitmq_address_is_read_alike() -> None:
    assert address_of_url("amqp://guest:guest@queue.example//") == ("queue.example", True)


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("nowhere/all.jsonl", 2, "No such file"),
        (".", 2, "Is a directory"),
        ("/dev/full", 3, "No space left"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line_and_no_traceback(
    settings: Callable[..., Settings],
    plain_server: ValkeyServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    code: int,
    said: str,
) -> None:
    made = settings(url=plain_server.url)
    store = Store(made)
    store.put(*(store.entry(f"question {number}", "x" * 2_000) for number in range(20)))
    store.close()
    where = ["--url", made.url, "--namespace", made.namespace, "--model", made.model]
    assert main(["export", "--to", str(tmp_path / target), *where]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown.splitlines()) == 1
