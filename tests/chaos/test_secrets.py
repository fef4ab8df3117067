"""What a worker's log never shows, also at DEBUG: prompts and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import Worker

from nearhit.write.wakeup import TASK_FILL, TASK_FILL_MANY, queue_name
from tests.chaos.stack import wait_for
from tests.chaos.test_processes import POOLS, plain_client, send, stored
from tests.support.embedding_server import EmbeddingServer

if TYPE_CHECKING:
    from tests.chaos.stack import Stack

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_at_debug_shows_no_prompt_and_no_answer_of_another_programs_task(stack: Stack, pool: str) -> None:
    row = {"prompt": "the secret question", "answer": "the secret answer"}
    with EmbeddingServer() as endpoint:
        more = {"OPENAI_API_KEY": "sk-hidden", "OPENAI_API_BASE": endpoint.url, "OPENAI_BASE_URL": endpoint.url}
        changes = {**stack.variables, **more, "NEARHIT_MODEL": "openai/stub"}
        arguments = (*(POOLS[pool] or ("--pool", "threads")), "--loglevel", "DEBUG")
        worker = Worker(stack.folder / "worker", changes, arguments, name="worker")
        stack.workers.append(worker)
        worker.start()
        app = plain_client(stack.log_server.url)  # its headers repeat the arguments as text
        send(app, TASK_FILL, (row,))
        send(app, TASK_FILL_MANY, ([{**row, "prompt": "another secret question"}, {**row, "ttl_seconds": "secret"}],))
        app.send_task(TASK_FILL, kwargs={"row": row, "nothing": "secret"}, queue=queue_name("chaos", "interactive"))
        app.send_task("nobody.knows", args=["secret"], queue=queue_name("chaos", "interactive"))
        wait_for(lambda: len(stored(stack)) == 2 and len(stack.dead()) == 3, 60, "all are stored or refused")
        assert worker.child is not None
        worker.child.process.terminate()
        assert worker.child.process.wait(30) == 0
    text = worker.child.log_path.read_text()
    assert " DEBUG " in text
    assert "message refused" in text
    assert "secret" not in text
    assert "sk-hidden" not in text
