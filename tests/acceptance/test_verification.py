"""Shadow verification, end to end: wrong hits are found out by a real worker, and other processes stop giving them."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import ValkeyServer, Worker, wait_until

from nearhit import Hit, Settings, Thresholds
from tests.support.faces import Face
from tests.support.judging_server import JudgingServer
from tests.support.store import Store
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CACHED = "how do i reset my password please"
ASKED = "how can i reset my password please"
NEARER = "how do i reset my password please thanks"
"""0.87 and 0.93 from the cached one for hash/64."""

OTHER_PROCESS = """
import sys
from nearhit_worker.stack import wait_until
from nearhit import SemanticCache, Settings
url, namespace = sys.argv[1:]
settings = Settings(threshold=0.8, url=url, namespace=namespace, model="hash/64", guard=False, deadline_ms=2000)
with SemanticCache(settings) as cache:
    cache.warm_up(30)
    outcomes = []
    for wanted in (True, False):
        def there():
            outcomes.append(cache.lookup("how can i reset my password please"))
            return bool(outcomes[-1]) == wanted
        wait_until(there, 100, f"a hit: {wanted}")
        print("hit" if wanted else "miss", outcomes[-1].threshold, flush=True)
"""


@pytest.fixture(scope="module")
def model() -> Iterator[JudgingServer]:
    """A provider whose answers have changed since the cache was filled."""
    with JudgingServer() as one:
        one.text, one.verdict = "Ask your administrator.", "DIFFERENT"
        yield one


@pytest.fixture(params=["local", "valkey-search"])
def made(request: pytest.FixtureRequest, namespace: str) -> Settings:
    """Settings with which every semantic hit is verified by an LLM judge."""
    name = "plain_server" if request.param == "local" else "search_server"
    server: ValkeyServer = request.getfixturevalue(name)
    return Settings(
        threshold=0.8,
        url=server.url,
        namespace=namespace,
        model="hash/64",
        guard=False,
        deadline_ms=2_000,
        verify_share=1.0,
        verify_model="openai/stub",
        verify_judge_model="openai/judge",
    )


@pytest.fixture
def worker(made: Settings, model: JudgingServer, tmp_path: Path) -> Iterator[Worker]:
    """A worker process that knows the provider."""
    names = ("threshold", "url", "namespace", "model", "verify_model", "verify_judge_model")
    environ = {f"NEARHIT_{name.upper()}": str(getattr(made, name)) for name in names}
    with Worker(tmp_path / "worker", {**environ, "OPENAI_API_BASE": model.url, "OPENAI_API_KEY": "sk-test"}) as one:
        yield one


def test_wrong_hits_raise_the_threshold_and_other_processes_refuse_within_seconds(
    made: Settings, worker: Worker, model: JudgingServer, tmp_path: Path, kind: str
) -> None:
    store = Store(made)
    store.add(CACHED, "Use the link on the sign-in page.")
    command = [sys.executable, "-c", OTHER_PROCESS, made.url, made.namespace]
    with Face(kind, made) as face, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert face.warm_up()
        wait_until(lambda: bool(face.lookup(ASKED)), 20, "the entry is found")
        assert other.stdout.readline() == "hit 0.8\n"
        for _ in range(40):
            hit = face.lookup(ASKED)
            assert isinstance(hit, Hit)
        with Thresholds(made) as thresholds:
            wait_until(lambda: bool(thresholds.entries()), 60, "the threshold is raised")
            entry = thresholds.in_force()
        assert (entry.who, entry.was, entry.threshold) == ("verification", 0.8, 0.875)
        wait_until(lambda: not face.lookup(ASKED), 15, "this process refuses the hit")
        assert other.stdout.readline() == "miss 0.875\n"
        near = face.lookup(NEARER)
        assert isinstance(near, Hit)
        assert near.threshold == 0.875
    store.close()
    assert {body["model"] for _, body in model.asked} == {"stub", "judge"}
    with urllib.request.urlopen(worker.metrics_url) as reply:  # noqa: S310 - our own
        lines = reply.read().decode().splitlines()
    space = f'{{namespace="{made.namespace}"'
    assert f"nearhit_threshold_raises_total{space}}} 1.0" in lines
    assert any(line.startswith(f'nearhit_verifications_total{space},verdict="false_hit"}}') for line in lines)
    terminal = Terminal(tmp_path, NEARHIT_URL=made.url, NEARHIT_NAMESPACE=made.namespace, NEARHIT_MODEL="hash/64")
    shown = terminal.run("verify", "--json")
    assert shown.code in {0, 1}, shown.err
    assert shown.document["before_thresholds_changed"] >= 20
    assert {one["field"] for one in shown.document["thresholds"]} <= {"*"}
    assert "verification" in terminal.run("threshold", "--threshold", "0.8").out
