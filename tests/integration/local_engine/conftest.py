"""A server that is private to a module of tests, and local engines that follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nearhit.index.local import LocalEngine
from tests.integration.local_engine.replica import KEYS, ROWS
from tests.integration.local_server import (
    DIMENSION,
    Server,
    Writer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The server is private to this module; every test starts on an empty one that runs."""
    shared_server.stop()
    shared_server.start()
    return shared_server


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    with server.connect() as connection:
        yield connection


@pytest.fixture
def writer(client: redis.Redis) -> Writer:
    return Writer(KEYS, client)


@pytest.fixture
def make(server: Server) -> Iterator[Callable[..., LocalEngine]]:
    made: list[LocalEngine] = []

    def make_engine(protocol: int = 2, **kwargs: Any) -> LocalEngine:
        engine = LocalEngine(KEYS, DIMENSION, lambda: server.connect(protocol), **kwargs)
        made.append(engine)
        return engine

    yield make_engine
    for engine in made:
        engine.close()


@pytest.fixture
def engine(make: Callable[..., LocalEngine], writer: Writer) -> LocalEngine:
    for number in range(50):
        writer.write(f"n{number}", ROWS[number])
    made = make()
    assert made.wait_ready(10)
    return made
