"""Cache, log and broker behind three real sentinels: a primary that dies or hangs under load costs no fill."""

from __future__ import annotations

import asyncio
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from celery import Celery
from nearhit_worker.stack import Worker, free_port, wait_until

from nearhit import ConfigError, FillOutcome, Hit, Miss, MissReason, Server, Settings, StoreUnavailableError
from nearhit.cli.rights_checks import check_cache_rights
from nearhit.valkey.async_endpoint import Endpoint
from nearhit.valkey.connector import Connector
from nearhit.valkey.link import link_to
from nearhit.write.broker_url import broker_of, options_of
from nearhit.write.wakeup import TASK_FILL, queue_name
from tests.support.faces import Face
from tests.support.sentinels import PASSWORD, SERVICE, Sentinels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

BACK_SECONDS = 5.0
"""Within which there are hits again, from when the sentinels have agreed on another primary."""

FILLS = 200


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    with Sentinels(tmp_path / "watched") as one:
        yield one


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_a_primary_that_ends_under_load_costs_no_fill(
    kind: str, sentinels: Sentinels, tmp_path: Path, end: signal.Signals
) -> None:
    values: dict[str, Any] = {"threshold": 0.8, "url": sentinels.url, "model": "hash/64", "namespace": "watched"}
    environ = {f"NEARHIT_{name.upper()}": str(value) for name, value in values.items()} | {"NEARHIT_GUARD": "0"}
    settings = Settings(**values, guard=False, deadline_ms=1_000, enqueue_deadline_ms=500)
    with Worker(tmp_path / "worker", environ), Face(kind, settings) as cache:
        assert cache.warm_up()
        cache.fill("the first question", "an answer")
        wait_until(lambda: bool(cache.lookup("the first question")), 20, "the path is warm")
        before = sentinels.primary
        assert before.child is not None
        with before.client() as client:
            client.set("last", 1)
            assert client.wait(1, 5_000) == 1, "the replica has what came before"
        os.kill(before.child.process.pid, end)
        outcomes = {cache.fill(f"question {number}", number) for number in range(FILLS)}
        assert FillOutcome.DROPPED not in outcomes
        wait_until(lambda: sentinels.primary is not before, 40, "the sentinels name another primary")
        wait_until(lambda: bool(cache.lookup("the first question")), BACK_SECONDS, "hits again")

        def answers() -> list[Any]:
            found = (cache.lookup(f"question {number}") for number in range(FILLS))
            return [one.answer for one in found if isinstance(one, Hit)]

        wait_until(lambda: answers() == list(range(FILLS)), 30, "no fill is lost")
        url = broker_of("", settings.log_server())
        app = Celery("somebody", broker=str(url), set_as_current=False)
        app.conf.broker_transport_options = options_of(url)
        row = {"prompt": "a task", "answer": "an answer"}
        app.send_task(TASK_FILL, args=(row,), queue=queue_name("watched", "interactive"))
        wait_until(lambda: bool(cache.lookup("a task")), 30, "the broker has followed")
        if end is signal.SIGSTOP:
            os.kill(before.child.process.pid, signal.SIGCONT)


def test_all_that_connect_at_once_learn_the_primary_and_no_sentinel_is_forgotten(
    kind: str, sentinels: Sentinels
) -> None:
    ports = [free_port(), sentinels.ports[0]]  # nobody answers at the first one
    names = ",".join(f"127.0.0.1:{port}" for port in ports)
    server = Server(url=f"valkey+sentinel://:{quote(PASSWORD, safe='')}@{names}/{SERVICE}")

    async def all_connect(pool: Any) -> list[Any]:
        endpoint = Endpoint(pool.connection_class, pool.connection_kwargs, watched=pool)
        made = await asyncio.gather(*(endpoint.connect() for _ in range(20)), return_exceptions=True)
        for one in made:
            if not isinstance(one, BaseException):
                one.abort("the test ends")
        return [one for one in made if isinstance(one, BaseException)]

    client: Any = server.single_client() if kind == "sync" else server.async_client()
    pool = client.connection_pool
    if kind == "sync":
        connector = Connector(pool)
        with ThreadPoolExecutor(20) as threads:
            for made in [threads.submit(connector.connect) for _ in range(20)]:
                made.result().close()
    else:
        assert asyncio.run(all_connect(pool)) == []
    known = [one.connection_pool.connection_kwargs["port"] for one in pool.sentinel_manager.sentinels]
    assert sorted(known) == sorted(ports)


def test_no_sentinel_that_answers_is_an_outage_with_a_name(kind: str) -> None:
    url = "valkey+sentinel://127.0.0.1:1,127.0.0.1:2/main"
    with Face(kind, Settings(threshold=0.8, url=url, model="hash/64", guard=False)) as cache:
        assert not cache.warm_up(1.0)
        outcome = cache.lookup("a question")
        assert isinstance(outcome, Miss)
        assert outcome.reason is MissReason.UNAVAILABLE
    link = link_to(Server(url=url))
    with closing(link), pytest.raises(StoreUnavailableError, match="no sentinel names a primary for 'main'") as caught:
        link.send((("PING",),), 2.0)
    assert len(str(caught.value)) < 150
    found = check_cache_rights(Settings(threshold=0.8, url=url), search=False)
    assert found.text.startswith("cannot be tried: the cache main at 127.0.0.1:1,127.0.0.1:2 does not answer: ")


def test_a_url_of_sentinels_names_them_and_a_service() -> None:
    server = Server(url="valkey+sentinel://me:p%2Fw@one,two:7000/main?db=1&sentinel_password=x")
    assert server.label == "main at one:26379,two:7000"
    options = server.single_client().connection_pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("me", "p/w", 1)
    url = broker_of("", server)
    assert url == "sentinel://me:p%2Fw@one:26379/1;sentinel://me:p%2Fw@two:7000/1"
    assert options_of(url)["master_name"] == SERVICE
    assert options_of(url)["sentinel_kwargs"]["password"] == "x"
    assert broker_of("", Server(url="valkeys+sentinel://one/main")) == "", "the workers' timers find the work"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("valkey+sentinel://one,two", "names no service"),
        ("valkey+sentinel://one:x,two/main", "its port cannot be read"),
        ("valkey+sentinel://:hunter2/hunter2@one,two/main", "cannot be read"),
        ("valkey+sentinel://one/main?db=x", "its database is no number"),
    ],
)
def test_a_url_of_sentinels_that_cannot_be_read_says_why(url: str, says: str) -> None:
    for refused in (lambda: Server(url=url), lambda: Settings(threshold=0.9, broker_url=url)):
        with pytest.raises(ConfigError, match=says) as caught:
            refused()
        assert "hunter2" not in str(caught.value)
