"""Servers and runtimes for tests of the write path."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer

from nearhit import Metrics
from nearhit.embedding.resolve import embedder_for
from tests.support.embedding_server import EmbeddingServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nearhit.settings import Settings


@pytest.fixture
def server(plain_server: ValkeyServer) -> ValkeyServer:
    """The write path is the same for both engines; the plain server is the quicker one."""
    return plain_server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that may be stopped."""
    with ValkeyServer(tmp_path / "own") as one:
        yield one
        if one.child is not None and one.child.running:
            os.kill(one.child.process.pid, signal.SIGCONT)


@pytest.fixture
def endpoint() -> Iterator[EmbeddingServer]:
    with EmbeddingServer() as one:
        yield one


@pytest.fixture
def remote(settings: Callable[..., Settings], endpoint: EmbeddingServer) -> Callable[..., Runtime]:
    """A worker's runtime whose embedder is the endpoint, through LiteLLM."""

    def make(**changes: Any) -> Runtime:
        model = "openai/stub"
        made = settings(model=model, **{"retry_ceiling_seconds": 0.2, "embed_timeout_ms": 2_000, **changes})
        embedder = embedder_for(model, api_base=endpoint.url, api_key="sk-secret")
        return Runtime(made, Metrics(namespace=made.namespace), embedder)

    return make
