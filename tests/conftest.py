"""Real servers for tests: private, on free ports, gone with the session."""

from __future__ import annotations

import itertools
import os
import re
import signal
from typing import TYPE_CHECKING, TypeVar

import pytest
from nearhit_worker.stack import ValkeyServer

from nearhit.embedding.vector_cache import VectorCache
from nearhit.settings import Settings
from tests.support.faces import KINDS, Face
from tests.support.running import RunningServer
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import redis

MODULE = os.environ.get("NEARHIT_TEST_SEARCH_MODULE", "")
SEARCH_URL = os.environ.get("NEARHIT_TEST_SEARCH_URL", "")
EXPECTED_SKIPS = (
    "no search module:",
    "no openssl:",
    "no such resource:",
    "no renderer:",  # Grafana's packages are 450 MB; what they are compared with runs everywhere
    "no helm:",  # Helm's engine has wheels for most machines
    "no rabbitmq-server",  # Debian's package, for machines that have no apt
    "LiteLLM's proxy needs",  # 40 packages that pin versions of their own
    "LiteLLM's own class:",  # needs a redis-py older than ours, in an interpreter of its own
    "langchain-tests is not installed",  # brings pytest plugins that warn, and warnings are errors here
)
"""Beginnings of the reasons for which a test may be skipped in CI, too."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Let the programs that tests start see Ctrl-C, even where a shell started the tests with SIGINT ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Say which servers the tests meet."""
    search = MODULE or SEARCH_URL or "none: live search tests are skipped, recorded replies stand in"
    return [f"search module: {search}"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a skip that nobody expected fail in CI: a test that does not run there proves nothing."""
    report = yield
    return _expected(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a whole module that is skipped without being expected to fail in CI."""
    report = yield
    return _expected(report)


def _expected(report: Report) -> Report:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(EXPECTED_SKIPS):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI, which nobody expected: {reason}"
    return report


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A valkey-server without the search module."""
    with ValkeyServer(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="session")
def search_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A valkey-server with the search module, where the machine has one; one that runs already is never flushed."""
    if not MODULE and SEARCH_URL:
        yield RunningServer(tmp_path_factory.mktemp("search"), address=SEARCH_URL)
        return
    if not MODULE:
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    with ValkeyServer(tmp_path_factory.mktemp("search"), module=MODULE) as server:
        yield server


@pytest.fixture(params=["local", "valkey-search"])
def server(request: pytest.FixtureRequest) -> ValkeyServer:
    """A server for each engine; the second one is skipped where there is no module."""
    name = "plain_server" if request.param == "local" else "search_server"
    found: ValkeyServer = request.getfixturevalue(name)
    return found


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has."""
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of the server under test."""
    with server.client() as one:
        yield one


@pytest.fixture
def settings(server: ValkeyServer, namespace: str) -> Callable[..., Settings]:
    """Settings for the server under test, with the hash embedder; keyword arguments change them."""

    def make(**changes: object) -> Settings:
        values: dict[str, object] = {
            "threshold": 0.8,
            "url": server.url,
            "namespace": namespace,
            "model": "hash/64",
            "guard": False,
            "deadline_ms": 2_000,
            "enqueue_deadline_ms": 1_000,
            **changes,
        }
        return Settings.from_env({}, **values)

    return make


@pytest.fixture
def vector_cache() -> VectorCache:
    """An empty vector cache."""
    return VectorCache(100)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each twin of the cache."""
    return str(request.param)


@pytest.fixture
def face(kind: str, settings: Callable[..., Settings]) -> Iterator[Callable[..., Face]]:
    """Makes caches of either twin; keyword arguments are settings, and ``parts`` what the constructor takes besides."""
    made: list[Face] = []

    def make(parts: dict[str, object] | None = None, **changes: object) -> Face:
        made.append(Face(kind, settings(**changes), **(parts or {})))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def store(settings: Callable[..., Settings]) -> Iterator[Callable[..., Store]]:
    """Makes stores that put entries into the namespace under test; keyword arguments are settings."""
    made: list[Store] = []

    def make(embedder: object = None, **changes: object) -> Store:
        made.append(Store(settings(**changes), embedder))  # type: ignore[arg-type]  # any double of the port
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def no_immortal_keys(request: pytest.FixtureRequest, namespace: str) -> Iterator[None]:
    """Fails a test that leaves a key without a time to live behind, besides the bookkeeping that must outlive all."""
    server = request.getfixturevalue("server") if "server" in request.fixturenames else None
    yield
    if isinstance(server, ValkeyServer) and server.child is not None and server.child.running:
        with server.client() as one:
            left = [key.decode() for key in one.scan_iter(f"*{namespace}*", count=1000) if one.pttl(key) == -1]
        assert [key for key in left if not is_bookkeeping(key, namespace)] == []


def is_bookkeeping(key: str, namespace: str) -> bool:
    """Return whether a key may live for ever: the fill log, what embedders there are, and Celery's own."""
    ours = rf"nearhit:{namespace}[\w.-]*:(embedders|[0-9a-f]+:generation)"
    logs = rf"nearhit:\{{{namespace}[\w.-]*\}}:(thresholds|dead|expired|log:\w+|(retry|late):\w+)"
    celerys = rf"(_kombu\.binding\w*\.)?nearhit-{namespace}[\w.-]*"
    return re.fullmatch(f"{ours}|{logs}|{celerys}", key) is not None
