"""A server that a test may stop, freeze and kill, and caches over it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer

from nearhit import Settings
from tests.conftest import MODULE
from tests.support.faces import Face

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def own_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ValkeyServer]:
    """A server that a test may stop, freeze and kill; one for the engine that a test names by its parameter."""
    module = MODULE if getattr(request, "param", "local") == "valkey-search" else ""
    if not module and hasattr(request, "param") and request.param != "local":
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    with ValkeyServer(tmp_path / "own", durable=True, module=module) as server:
        yield server
        if server.child is not None and server.child.running:
            os.kill(server.child.process.pid, signal.SIGCONT)


@pytest.fixture
def own_settings(own_server: ValkeyServer, namespace: str) -> Callable[..., Settings]:
    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {"threshold": 0.8, "url": own_server.url, "namespace": namespace, "model": "hash/64"}
        return Settings(**{**values, "guard": False, **changes})

    return make


@pytest.fixture
def own_face(kind: str, own_settings: Callable[..., Settings]) -> Iterator[Callable[..., Face]]:
    made: list[Face] = []

    def make(parts: dict[str, Any] | None = None, **changes: Any) -> Face:
        made.append(Face(kind, own_settings(**changes), **(parts or {})))
        return made[-1]

    yield make
    for one in made:
        one.close()
