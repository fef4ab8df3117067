"""The commands that take care of what is stored, on a real server."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime

from nearhit import Metrics
from nearhit.cli.program import main
from nearhit.domain.scope import tenant_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit import Settings
    from tests.support.store import Store


@pytest.fixture
def nearhit(
    server: ValkeyServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[Any]]]:
    """Runs a command and returns its exit code and the documents that it wrote."""

    def run(*words: str) -> tuple[int, list[Any]]:
        code = main([*words, "--json", "--url", server.url, "--namespace", namespace])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--tenant", "acme"), 2),
        (("--tenant", "acme", "--scope", "model=small"), 1),
        (("--prompt", "question", "--tenant", "acme", "--scope", "model=small"), 1),
        (("--scope", "model=small"), 0),
        (("--prompt", "question"), 1),
        (("--older-than-seconds", "3600"), 0),
        (("--everything",), 3),
    ],
)
def test_invalidate_removes_what_its_options_say(
    store: Callable[..., Store], nearhit: Callable[..., tuple[int, list[Any]]], words: tuple[str, ...], count: int
) -> None:
    one = store()
    one.add("question")
    for model in ("small", "large"):
        one.add("question", scope={"tenant": "acme", "model": model}, tenant=tenant_digest("acme"))
    assert nearhit("invalidate", *words, "--dry-run") == (0, [{"matched": count, "removed": 0, "queued": False}])
    assert nearhit("invalidate", *words) == (0, [{"matched": count, "removed": count, "queued": False}])


def test_invalidate_without_a_selection_is_a_usage_error(nearhit: Callable[..., tuple[int, list[Any]]]) -> None:
    code, (document,) = nearhit("invalidate")
    assert (code, document["error"].partition(",")[0]) == (2, "invalidate needs --prompt")


def test_reindex_takes_another_model_over_and_drops_it(
    store: Callable[..., Store], settings: Callable[..., Settings], nearhit: Callable[..., tuple[int, list[Any]]]
) -> None:
    one = store(model="hash/64")
    one.put(*(one.entry(f"question {number}", ttl_seconds=600) for number in range(20)))
    store(model="hash/128")
    code, rows = nearhit("reindex", "--dry-run", "--model", "hash/128")
    assert (code, rows) == (0, [{"embedder": one.keys.embedder, "model": "hash/64", "living": 20}])
    code, rows = nearhit("reindex", "--model", "hash/128", "--timeout", "0.1")
    assert code == 1
    assert rows[0]["missing"] == 20
    runtime = Runtime(settings(model="hash/128"), Metrics(namespace=settings().namespace))
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            runtime.drain("bulk")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        code, rows = nearhit("reindex", "--model", "hash/128", "--timeout", "20")
    finally:
        stop.set()
        thread.join()
        runtime.close()
    assert code == 0
    assert (rows[0]["missing"], rows[0]["searchable"], rows[0]["dropped"]) == (0, True, 20)
    assert nearhit("reindex", "--model", "hash/128") == (0, [])


def test_reindex_of_an_unknown_model_names_those_that_there_are(
    store: Callable[..., Store], server: ValkeyServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one = store(model="hash/64")
    words = ["reindex", "--from", "0123456789ab", "--model", "hash/128"]
    assert main([*words, "--url", server.url, "--namespace", namespace]) == 2
    assert f"{one.keys.embedder} (hash/64)" in capsys.readouterr().err
