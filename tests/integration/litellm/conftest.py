"""LiteLLM itself, a scripted provider on loopback, and the write path of a worker in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import wait_until

from nearhit.telemetry.metrics import Metrics
from tests.support.chat_server import ChatServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nearhit.litellm import Options
    from nearhit.settings import Settings


# LiteLLM reads this while it is imported: no price table from the network
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

# the first three for any cache hit, the last for tools and the Responses API, cached or not (litellm 1.106)
LACKING = [name for name in ("fastapi", "orjson", "soundfile", "mcp") if importlib.util.find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LiteLLM and its providers' models warn of their own deprecations and serialisers."""
    for item in items:
        if "integration/litellm" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::UserWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


class Installed:
    """A cache in its place at ``litellm.cache``, and the worker that fills it."""

    def __init__(
        self, settings: Settings, provider: ChatServer, options: Options | None, runner: asyncio.Runner
    ) -> None:
        from nearhit import litellm as ours

        self.run = runner.run
        self.settings = settings
        self.provider = provider
        self.facade: Any = ours.install(settings, options=options)
        self.backend: Any = self.facade.cache
        self.metrics: Metrics = self.backend.metrics
        self.runtime = Runtime(settings, Metrics(namespace=settings.namespace))
        assert self.backend.sync.warm_up(20)
        assert self.run(self.backend.aio.warm_up(20))

    def settle(self, fills: int = 1) -> None:
        """Wait until this many more fills were accepted, and store them."""
        goal = self._stored + fills
        wait_until(lambda: self.accepted >= goal, 10, f"{goal} fills accepted, {self.accepted} so far")
        self._stored = goal
        self.runtime.drain("interactive")
        wait_until(self._seen, 10, "the replicas see the new entries")

    _stored = 0

    def _seen(self) -> bool:
        """Whether both twins, where they follow the entries, hold them all."""
        with closing(self.settings.server().client()) as client:
            there = sum(1 for _ in client.scan_iter(f"nearhit:{self.settings.namespace}:*:e:*"))
        replicas = [twin.replica for twin in (self.backend.sync, self.backend.aio)]
        return all(one.entries == there for one in replicas if one is not None)

    def close(self) -> None:
        """Put nothing in LiteLLM's place, and close both twins."""
        import litellm

        litellm.cache = None
        self.run(self.backend.disconnect())

    @property
    def accepted(self) -> int:
        return int(self.count("nearhit_fills_total", outcome="accepted"))

    def count(self, name: str, **labels: str) -> float:
        """Return a series of the read path."""
        labels = {"namespace": self.settings.namespace, **labels}
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def call(self, **more: Any) -> dict[str, Any]:
        """Return the parameters of a call to the provider."""
        return {"model": "openai/gpt-4o-mini", "api_base": self.provider.url, "api_key": "sk-none", **more}

    def chat(self, text: str, **more: Any) -> dict[str, Any]:
        """Return the parameters of a chat of one turn."""
        return self.call(messages=[{"role": "user", "content": text}], **more)


@pytest.fixture
def provider() -> Iterator[ChatServer]:
    """The provider of the models."""
    with ChatServer() as server:
        yield server


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all tests: LiteLLM keeps its clients in the first one."""
    with asyncio.Runner() as one:
        yield one
        from litellm.llms.custom_httpx.async_client_cleanup import close_litellm_async_clients

        one.run(close_litellm_async_clients())


@pytest.fixture
def installs(
    settings: Callable[..., Settings], provider: ChatServer, runner: asyncio.Runner
) -> Iterator[Callable[..., Installed]]:
    """Installs a cache; options and settings by keyword."""
    if LACKING:
        pytest.skip(f"LiteLLM needs {', '.join(LACKING)} here: nearhit[litellm-cache] and mcp")
    made: list[Installed] = []

    def make(options: Options | None = None, **changes: object) -> Installed:
        made.append(Installed(settings(**changes), provider, options, runner))
        return made[-1]

    yield make
    for installed in made:
        installed.close()


@pytest.fixture
def installed(installs: Callable[..., Installed]) -> Installed:
    """A cache with default options."""
    return installs()
