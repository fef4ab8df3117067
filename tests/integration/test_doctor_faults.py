"""One fault each, at real servers: the doctor names its cause and what to do about it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit.cli import path_checks, server_checks
from nearhit.cli.finding import Finding, Status
from nearhit.cli.servers import Servers
from nearhit.settings import Settings
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOM = 2 * 2**20


@dataclass
class Site:
    """A cache server, a log's server, and the settings under which the doctor looks at them."""

    cache: ValkeyServer
    log: ValkeyServer
    values: dict[str, object]

    def findings(self) -> list[Finding]:
        """Return what the doctor finds, but for workers and the walk along the whole path."""
        settings = Settings.from_env({}, **self.values)
        with Servers(settings) as both:
            found = [*server_checks.check_cache_server(both), *server_checks.check_log_server(both)]
            reached = not any(one.check == "cache server" and one.status is Status.FAIL for one in found)
            found += path_checks.check_models(both) if reached else ()
        return [*found, *path_checks.check_broker(settings), path_checks.check_embedder(settings)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ValkeyServer(tmp_path / "cache") as cache, ValkeyServer(tmp_path / "log", durable=True) as log:
        values = {"threshold": 0.8, "url": cache.url, "log_url": log.url, "model": "hash/64", "namespace": "faults"}
        yield Site(cache, log, dict(values))


def fill_up(server: ValkeyServer, policy: str) -> None:
    """Write keys without an end until the server takes no more."""
    with server.client() as client:
        limit = client.info("memory")["used_memory"] + ROOM
        client.config_set("maxmemory", str(limit), "maxmemory-policy", policy)
        numbers = itertools.count()

        def full() -> bool:
            try:
                return not client.set(f"other:{next(numbers)}", "x" * 10_000)
            except redis.OutOfMemoryError:
                return True

        wait_until(full, 20, "the server is full")


def wrong_password_of_the_cache(site: Site) -> None:
    site.values["url"] = f"valkey://nobody:wrong@127.0.0.1:{site.cache.port}"


def wrong_password_of_the_log(site: Site) -> None:
    site.values["log_url"] = f"valkey://nobody:wrong@127.0.0.1:{site.log.port}"


def wrong_password_of_the_broker(site: Site) -> None:
    site.values["broker_url"] = f"valkey://nobody:wrong@127.0.0.1:{site.log.port}"


def log_is_a_replica(site: Site) -> None:
    with site.log.client() as client:
        client.replicaof("127.0.0.1", str(site.cache.port))
        wait_until(lambda: client.info("replication")["role"] == "slave", 10, "the log's server is a replica")


def log_is_full(site: Site) -> None:
    fill_up(site.log, "noeviction")


def log_evicts(site: Site) -> None:
    with site.log.client() as client:
        client.config_set("maxmemory", "64mb", "maxmemory-policy", "allkeys-lru")


def cache_is_full_of_what_never_ends(site: Site) -> None:
    fill_up(site.cache, "volatile-lru")


def cache_evicts_what_has_no_end(site: Site) -> None:
    with site.cache.client() as client:
        client.config_set("maxmemory", "64mb", "maxmemory-policy", "allkeys-lfu")


def user_lacks_a_right(site: Site) -> None:
    with site.cache.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-hmget")
    site.values["url"] = f"valkey://app:pw@127.0.0.1:{site.cache.port}"


def key_of_the_provider_is_missing(site: Site) -> None:
    site.values["model"] = "openai/text-embedding-3-small"


def entries_of_two_models(site: Site) -> None:
    store = Store(Settings.from_env({}, **{**site.values, "model": "hash/128"}))
    store.add("Who?", "you")
    store.close()


@pytest.mark.parametrize(
    ("fault", "check", "status", "cause", "fix"),
    [
        (wrong_password_of_the_cache, "cache server", Status.FAIL, "authentication failed", "user and the password"),
        (wrong_password_of_the_log, "log server", Status.FAIL, "authentication failed", "user and the password"),
        (wrong_password_of_the_broker, "broker", Status.FAIL, "password", "the password in NEARHIT_BROKER_URL"),
        (log_is_a_replica, "log role", Status.FAIL, "it takes no writes", "set NEARHIT_LOG_URL to the primary"),
        (log_is_full, "log memory", Status.FAIL, "it refuses fills", "raise maxmemory"),
        (log_evicts, "log memory", Status.FAIL, "policy allkeys-lru", "with noeviction"),
        (cache_is_full_of_what_never_ends, "memory", Status.FAIL, "only 0 of ", "a server of its own"),
        (cache_evicts_what_has_no_end, "memory", Status.WARN, "policy allkeys-lfu", "volatile-lru"),
        (user_lacks_a_right, "cache rights", Status.FAIL, "the user app lacks +hmget", "ACL SETUSER app +hmget"),
        (key_of_the_provider_is_missing, "embedder", Status.FAIL, "no API key", "set OPENAI_API_KEY"),
        (entries_of_two_models, "models", Status.WARN, "entries of hash/128, too", "same NEARHIT_MODEL"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_is_named_with_its_cause_and_what_to_do(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Site], None],
    check: str,
    status: Status,
    cause: str,
    fix: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    sound = {one.check: one.status for one in site.findings()}
    assert sound.get(check, Status.PASS) is (Status.WARN if check == "embedder" else Status.PASS)
    fault(site)
    found = {one.check: one for one in site.findings()}[check]
    assert (found.status, cause in found.text, fix in found.advice) == (status, True, True), found
    assert "wrong" not in found.text
