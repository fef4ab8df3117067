"""Servers as they are met: other databases, sockets, users, limits, replicas, and clients of the caller's."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import FillOutcome, Hit, Miss, MissReason, Settings
from tests.support.faces import Face
from tests.support.outcomes import NOTHING
from tests.support.store import Store
from tests.support.tls import Tls
from tests.support.writer import written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODULES = ["local", "valkey-search"]


@pytest.fixture(params=MODULES)
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., ValkeyServer]]:
    """Starts servers with options of their own, without and with the search module."""
    from tests.conftest import MODULE

    if request.param == "valkey-search" and not MODULE:
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    made: list[ValkeyServer] = []

    def start(*options: str) -> ValkeyServer:
        module = MODULE if request.param == "valkey-search" else ""
        made.append(ValkeyServer(tmp_path / f"s{len(made)}", module=module, options=options).start())
        return made[-1]

    yield start
    for one in made:
        one.stop()


def settings_for(url: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {"threshold": 0.8, "url": url, "namespace": "servers", "model": "hash/64", "guard": False}
    return Settings(**{**values, "deadline_ms": 2_000, "enqueue_deadline_ms": 1_000, **changes})


def works(kind: str, settings: Settings, end: Any = None, **parts: Any) -> None:
    """Fill, write, and find a question again, exactly and in other words; then close a client of the caller's."""
    with Face(kind, settings, **parts) as cache:
        assert cache.warm_up()
        missed = cache.lookup("What is it?")
        assert isinstance(missed, Miss)
        assert missed.reason in NOTHING
        assert cache.fill(missed, "a thing") is FillOutcome.ACCEPTED
        assert written(settings) == 1
        wait_until(lambda: bool(cache.lookup("what is it")), 10, "the semantic tier finds it")
        found = cache.lookup("What is it?")
        assert isinstance(found, Hit)
        assert found.answer == "a thing"
        if end is not None:
            cache.close_cache()
            assert cache.run(end.ping())  # it is the caller's, and stays open
            cache.run(end.aclose() if kind == "asyncio" else end.close())


@pytest.mark.parametrize("options", ["/1", "/0?protocol=2", "/0?protocol=3"])
def test_any_database_and_protocol(kind: str, started: Any, options: str) -> None:
    works(kind, settings_for(f"valkey://127.0.0.1:{started().port}{options}"))


def test_a_unix_socket(kind: str, started: Any, tmp_path: Path) -> None:
    path = tmp_path / "v.sock"
    started("--unixsocket", str(path))
    works(kind, settings_for(f"unix://{path}"))


def test_a_password_and_a_user(kind: str, started: Any) -> None:
    server = started()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">p@ss:/w", "~*", "&*", "+@all")
    works(kind, settings_for(f"valkey://app:p%40ss%3A%2Fw@127.0.0.1:{server.port}"))


def test_a_wrong_password_is_a_named_miss(kind: str, started: Any) -> None:
    server = started()
    with Face(kind, settings_for(f"valkey://app:wrong@127.0.0.1:{server.port}")) as cache:
        missed = cache.lookup("What is it?")
        assert isinstance(missed, Miss)
        assert missed.reason is MissReason.UNAVAILABLE
        assert "wrong" not in missed.detail.replace("wrong number", "")
        assert "Auth" in missed.detail


def test_a_user_of_our_keys_alone_can_do_everything(kind: str, started: Any) -> None:
    server = started()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">p", "~nearhit*", "&*", "+@all", "-@dangerous")
        client.execute_command("ACL", "SETUSER", "app", "+info", "+keys")
    works(kind, settings_for(f"valkey://app:p@127.0.0.1:{server.port}", broker_url="memory://"))


@pytest.mark.parametrize("decode", [True, False])
def test_a_client_of_the_callers(kind: str, started: Any, decode: bool) -> None:
    server = started()
    make = redis.Redis if kind == "sync" else redis.asyncio.Redis
    client: Any = make(port=server.port, decode_responses=decode, protocol=3 if decode else 2)
    works(kind, settings_for(server.url), end=client, client=client)


def test_a_client_without_options_costs_no_lookup_more_than_its_deadline(kind: str, started: Any) -> None:
    server = started()
    settings = settings_for(server.url, deadline_ms=300)
    make = redis.Redis if kind == "sync" else redis.asyncio.Redis  # ten tries, and 5 s for each step, unless told so
    store = Store(settings)
    store.add("What is it?", "a thing")
    with Face(kind, settings, client=make(port=server.port)) as cache:
        assert cache.warm_up()
        wait_until(lambda: bool(cache.lookup("What is it?")), 10, "a hit")
        os.kill(server.child.process.pid, signal.SIGSTOP)
        try:
            for _ in range(6):
                began = time.monotonic()
                assert isinstance(cache.lookup("What is it?"), Miss)
                assert time.monotonic() - began < 2
        finally:
            os.kill(server.child.process.pid, signal.SIGCONT)
        wait_until(lambda: bool(cache.lookup("What is it?")), 10, "a hit again")
        server.stop()
        for _ in range(6):
            began = time.monotonic()
            assert isinstance(cache.lookup("What is it?"), Miss)
            assert time.monotonic() - began < 2
        store.close()


def test_a_full_server_keeps_answering_and_fills_wait(kind: str, started: Any) -> None:
    server = started("--maxmemory-policy", "noeviction")
    settings = settings_for(server.url)
    with Face(kind, settings) as cache:
        assert cache.warm_up()
        store = Store(settings)
        store.add("What is it?", "a thing")
        store.close()
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
            found = cache.lookup("What is it?")
            assert isinstance(found, Hit)
            assert cache.fill("Who is it?", "nobody") is FillOutcome.SPOOLED
            client.config_set("maxmemory", "0")
        wait_until(lambda: written(settings) == 1, 20, "the fill is written when there is room")


def test_a_replica_that_only_reads_serves_what_it_has(kind: str, started: Any) -> None:
    primary = started()
    settings = settings_for(primary.url)
    store = Store(settings)
    store.add("What is it?", "a thing")
    replica = started("--replicaof", f"127.0.0.1 {primary.port}")
    with replica.client() as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20, "the replica is in sync")
    with Face(kind, settings_for(replica.url)) as cache:
        wait_until(lambda: bool(cache.lookup("What is it?")), 20, "an exact hit from the replica")
        assert cache.fill("Who is it?", "nobody") is FillOutcome.SPOOLED
    store.close()


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "not trusted"])
def test_tls_is_spoken_and_its_certificate_is_checked(kind: str, started: Any, tmp_path: Path, trusted: bool) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: no certificate can be made")
    tls = Tls(started().port, tmp_path)
    query = f"?ssl_ca_certs={tls.ca}" if trusted else ""
    settings = settings_for(f"valkeys://127.0.0.1:{tls.port}{query}", broker_url="memory://")
    if trusted:
        works(kind, settings)
    else:
        with Face(kind, settings) as cache:
            missed = cache.lookup("What is it?")
            assert isinstance(missed, Miss)
            assert missed.reason is MissReason.UNAVAILABLE
            assert "certificate" in missed.detail.lower()
    tls.close()


def test_a_client_certificate_of_the_callers_goes_along(kind: str, started: Any, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl: no certificate can be made")
    server = started()
    tls = Tls(server.port, tmp_path, client_certificate=True)
    make = redis.Redis if kind == "sync" else redis.asyncio.Redis
    files: dict[str, Any] = {"ssl_ca_certs": str(tls.ca), "ssl_certfile": str(tls.ca), "ssl_keyfile": str(tls.key)}
    client: Any = make(port=tls.port, ssl=True, **files)
    works(kind, settings_for(server.url, broker_url="memory://"), end=client, client=client)
    tls.close()


def test_a_credential_provider_of_the_callers_goes_along(kind: str, started: Any) -> None:
    class Rotating(redis.CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            return "app", "secret"

    server = started()
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
        admin.execute_command("ACL", "SETUSER", "default", "resetpass", ">other")
    make = redis.Redis if kind == "sync" else redis.asyncio.Redis
    client: Any = make(port=server.port, credential_provider=Rotating())
    works(kind, settings_for(f"valkey://app:secret@127.0.0.1:{server.port}"), end=client, client=client)


@pytest.mark.parametrize("name", ["embedders", "generation", "changes", "log:interactive", "dead"])
def test_a_key_of_another_type_in_a_bookkeeping_place_is_a_named_miss(kind: str, started: Any, name: str) -> None:
    server = started()
    settings = settings_for(server.url)
    store = Store(settings)
    store.add("What is it?", "a thing")
    key = (
        f"nearhit:servers:{store.keys.embedder}:{name}"
        if name in {"generation", "changes"}
        else f"nearhit:{'servers' if name == 'embedders' else '{servers}'}:{name}"
    )
    with server.client() as client:
        client.delete(key)
        client.sadd(key, "x")
        with Face(kind, settings) as cache:
            outcome = cache.lookup("What is it?")
            if isinstance(outcome, Miss):
                assert outcome.reason in {MissReason.UNAVAILABLE, MissReason.WARMING, MissReason.MISCONFIGURED}
            client.delete(key)
            wait_until(lambda: bool(cache.lookup("What is it?")), 20, "it heals when the key is gone")
    store.close()
