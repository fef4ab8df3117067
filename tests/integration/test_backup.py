"""Backup and restore of the log's server, by the commands of the documentation."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import FillOutcome, SemanticCache
from tests.support.log import drained, hashed, prompts_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit import Settings

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def server(plain_server: ValkeyServer) -> ValkeyServer:
    """The cache's server; the test has a log's server of its own."""
    return plain_server


def fill(cache: SemanticCache, answers: dict[str, str]) -> None:
    for prompt, answer in answers.items():
        assert cache.fill(prompt, answer) is FillOutcome.ACCEPTED


def test_a_log_that_was_restored_loses_nothing_and_takes_no_newer_answer_back(
    settings: Callable[..., Settings], server: ValkeyServer, tmp_path: Path
) -> None:
    page = OPERATIONS.read_text().partition("## Backup and restore")[2].partition("\n## ")[0]
    before, after = re.findall(r"valkey-cli (CONFIG SET .+)", page)
    with ValkeyServer(tmp_path / "log", durable=True) as log:
        made = settings(log_url=log.url, broker_url="memory://")
        worker = hashed(made)
        with SemanticCache(made) as cache:
            fill(cache, {f"question {number}": "old" for number in range(20)})
            with log.client() as client:
                client.execute_command(*before.split())
                wait_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"], 10, "no rewrite")
                shutil.copytree(log.folder / "appendonlydir", tmp_path / "backup")
                client.execute_command(*after.split())
            drained(worker, server)
            fill(cache, {"question 3": "new"})
            drained(worker, server)
            with server.client() as client:  # one entry is gone from the cache: the copy of the log brings it back
                (name,) = [
                    one
                    for one in client.scan_iter(f"nearhit:{made.namespace}:*:e:*")
                    if client.hget(one, "prompt") == b"question 7"
                ]
                client.unlink(name)

            log.stop()
            shutil.rmtree(log.folder / "appendonlydir")
            shutil.copytree(tmp_path / "backup", log.folder / "appendonlydir")
            log.start()
            wait_until(lambda: cache.fill("question 20", "old") is FillOutcome.ACCEPTED, 10, "the log takes fills")
            drained(worker, server)
        worker.close()
    found = prompts_in(server, made.namespace)
    assert found == {f"question {number}": "new" if number == 3 else "old" for number in range(21)}
