"""What an operator can get wrong about the server: each is a named miss that says what to change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import ConfigError, Hit, Metrics, Miss, MissReason, Tier
from nearhit.cli import server_checks
from nearhit.cli.finding import Status
from nearhit.cli.servers import Servers
from nearhit.errors import StoreUnavailableError
from nearhit.flow.steps import ReplyError
from nearhit.index.opening import choose_engine
from tests.conftest import MODULE
from tests.support.faces import Face
from tests.support.nodes import sample
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit import Settings

needs_module = pytest.mark.skipif(not MODULE, reason="no search module: set NEARHIT_TEST_SEARCH_MODULE")
QUESTION = "how do I restore a single file from a backup"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server of the test's own, whose users, memory and replication it may change."""
    with ValkeyServer(tmp_path / "node", module=MODULE) as one:
        yield one


def missed(face: Face) -> Miss:
    outcome = face.lookup(f"{QUESTION}, please")
    assert isinstance(outcome, Miss)
    return outcome


def test_a_server_without_the_module_where_it_was_asked_for(
    tmp_path: Path, kind: str, settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    with ValkeyServer(tmp_path / "plain") as plain:
        wanted = settings(url=plain.url, engine="valkey-search")
        with Face(kind, wanted) as face:
            assert not face.warm_up(0.5)
            outcome = missed(face)
            assert outcome.reason is MissReason.MISCONFIGURED
            assert "engine 'local'" in outcome.detail
        with pytest.raises(ConfigError, match="engine 'local'"):
            Runtime(wanted, Metrics()).space()


@needs_module
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (("~*", "+@all", "-@search"), r"\+@search"),
        (("~other:*", "+@all"), "nearhit:"),
        (("%R~nearhit:*", "+@all"), "nearhit:"),
    ],
)
def test_a_user_without_the_rights_from_the_start(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer, rules: tuple[str, ...], said: str
) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">secret", "&*", *rules)
    url = f"valkey://weak:secret@127.0.0.1:{server.port}/0"
    with Face(kind, settings(url=url)) as face:
        assert not face.warm_up(0.5)
        outcome = missed(face)
        assert outcome.reason is MissReason.MISCONFIGURED
        assert "secret" not in outcome.detail
        with pytest.raises(ConfigError, match=said):
            Runtime(settings(url=url), Metrics()).space()


@needs_module
@pytest.mark.parametrize("rule", ["-command", "-command|info"])
def test_a_user_who_may_not_ask_for_commands_still_gets_the_module(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer, rule: str
) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "curious", "on", ">secret", "~*", "&*", "+@all", rule)
    mine = settings(url=f"valkey://curious:secret@127.0.0.1:{server.port}/0", engine="auto")
    store = Store(mine)
    assert store.space.engine.name == "valkey-search"
    store.add(QUESTION)
    with Face(kind, mine) as face:
        assert isinstance(face.lookup(f"{QUESTION}, please"), Hit)
    store.close()


@needs_module
def test_a_user_who_may_neither_ask_nor_search_is_told_so_instead_of_searching_elsewhere(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">secret", "~*", "&*", "+@all", "-command", "-@search")
    mine = settings(url=f"valkey://weak:secret@127.0.0.1:{server.port}/0", engine="auto")
    with Face(kind, mine) as face:
        assert not face.warm_up(0.5)
        outcome = missed(face)
        assert outcome.reason is MissReason.MISCONFIGURED
        assert "+@search" in outcome.detail
    with Servers(mine) as both:
        found = {one.check: one for one in server_checks.check_cache_server(both)}
        assert found["cache rights"].status is Status.FAIL


def test_a_user_who_may_not_ask_for_commands_is_served_by_the_local_engine_where_there_is_no_module(
    kind: str, settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with ValkeyServer(tmp_path / "plain") as plain:
        with plain.client() as client:
            client.execute_command("ACL", "SETUSER", "curious", "on", ">secret", "~*", "&*", "+@all", "-command")
        mine = settings(url=f"valkey://curious:secret@127.0.0.1:{plain.port}/0", engine="auto")
        with Face(kind, mine) as face:
            assert face.warm_up()
            assert missed(face).reason is MissReason.EMPTY


def test_a_server_that_does_not_say_what_it_has_is_asked_again_later() -> None:
    flow = choose_engine()
    next(flow)
    flow.send([ReplyError("unsupported command", "ResponseError")])
    with pytest.raises(StoreUnavailableError, match="NEARHIT_ENGINE"):
        flow.send([ReplyError("unsupported command", "ResponseError")])


@needs_module
def test_the_rights_that_the_documentation_names_are_enough(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
    lines = re.findall(r"^# (?:cache server|search module|log's server), worker\n(.+)$", text, re.MULTILINE)
    with server.client() as client:
        for line in lines:
            client.execute_command(*line.split())
    mine = settings(url=f"valkey://nearhit-worker:PASSWORD@127.0.0.1:{server.port}/0", broker_url="memory://")
    metrics = Metrics(namespace=mine.namespace)
    with Face(kind, mine) as face:
        assert face.warm_up()
        assert face.fill(QUESTION, "an answer") == "accepted"
        runtime = Runtime(mine, metrics)
        assert runtime.drain("interactive") == 1
        runtime.check_index()
        assert sample(metrics, "nearhit_index_entries") == 1
        assert isinstance(face.lookup(f"{QUESTION}, please"), Hit)
        assert face.run(face.cache.invalidate(everything=True)).removed == 1
        runtime.close()


@needs_module
def test_a_user_who_loses_the_rights_while_the_cache_is_open(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    store = Store(settings())
    store.add(QUESTION)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">secret", "&*", "~*", "+@all")
        with Face(kind, settings(url=f"valkey://weak:secret@127.0.0.1:{server.port}/0")) as face:
            assert isinstance(face.lookup(f"{QUESTION}, please"), Hit)
            client.execute_command("ACL", "SETUSER", "weak", "-@search")
            outcome = missed(face)
            assert outcome.reason is MissReason.MISCONFIGURED
            assert "+@search" in outcome.detail
            client.execute_command("ACL", "SETUSER", "weak", "-@all")
            assert missed(face).reason is MissReason.MISCONFIGURED
            client.execute_command("ACL", "SETUSER", "weak", "+@all")
            wait_until(lambda: isinstance(face.lookup(f"{QUESTION}, please"), Hit), 10, "the rights to work again")
    store.close()


@needs_module
def test_a_read_only_replica_without_an_index_says_to_take_the_primary(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer, tmp_path: Path
) -> None:
    options = ("--replicaof", f"127.0.0.1 {server.port}")
    with ValkeyServer(tmp_path / "replica", module=MODULE, options=options) as replica:
        with Face(kind, settings(url=replica.url)) as face:
            assert not face.warm_up(0.5)
            outcome = missed(face)
            assert outcome.reason is MissReason.MISCONFIGURED
            assert "primary" in outcome.detail
        with pytest.raises(ConfigError, match="primary"):
            Runtime(settings(url=replica.url), Metrics()).space()


@needs_module
def test_a_replica_with_the_index_answers(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer, tmp_path: Path
) -> None:
    store = Store(settings())
    store.add(QUESTION)
    options = ("--replicaof", f"127.0.0.1 {server.port}", "--repl-diskless-sync-delay", "0")
    with ValkeyServer(tmp_path / "replica", module=MODULE, options=options) as replica:
        with replica.client() as client:
            wait_until(lambda: client.dbsize() > 0, 20, "the replica to have the entries")
        with Face(kind, settings(url=replica.url)) as face:
            wait_until(lambda: isinstance(face.lookup(f"{QUESTION}, please"), Hit), 10, "a hit on the replica")
    store.close()


@needs_module
def test_a_full_server_that_may_not_evict_still_gives_exact_hits_and_names_the_rest(
    kind: str, settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    store = Store(settings())
    store.add(QUESTION)
    with Face(kind, settings()) as face, server.client() as client:
        assert isinstance(face.lookup(f"{QUESTION}, please"), Hit)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        outcome = missed(face)
        assert outcome.reason is MissReason.UNAVAILABLE
        assert "maxmemory" in outcome.detail
        exact = face.lookup(QUESTION)
        assert isinstance(exact, Hit)
        assert exact.tier is Tier.EXACT
        client.config_set("maxmemory", "0")
        wait_until(lambda: isinstance(face.lookup(f"{QUESTION}, please"), Hit), 10, "room again")
    store.close()
