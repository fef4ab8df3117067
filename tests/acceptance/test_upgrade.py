"""A rolling upgrade in the wrong order: what a newer application writes waits until a newer worker takes it."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import msgpack
import pytest
from nearhit_worker.stack import Child, Worker, wait_until

from nearhit.valkey.key_names import LogKeys
from nearhit.verification import request as verification
from nearhit.write import dead_letters, fill_log, refresh_queue
from tests.chaos.stack import metric
from tests.support.log import run

if TYPE_CHECKING:
    from pathlib import Path

    from nearhit_worker.stack import ValkeyServer

pytestmark = pytest.mark.timeout(120)

NEXT = """
import sys
import nearhit.domain.fill_message as message
from nearhit_worker.program import main
decode = message.decode
message.decode = lambda blob: decode(blob.replace(b"\\xa1v\\x02", b"\\xa1v\\x01", 1))
sys.exit(main([]))
"""
"""A worker of the next release, whose fills have version 2 and no other change."""


class NextWorker(Worker):
    """A worker that knows the next version of fills, too."""

    def spawn(self) -> None:
        super().spawn()
        assert self.child is not None
        self.child.kill()
        env = {**os.environ, **self.settings, "NEARHIT_METRICS_PORT": str(self.metrics_port)}
        env["PYTHONPATH"] = os.getcwd()  # noqa: PTH109 - the checkout, as for pytest
        self.child = Child(self.name, [sys.executable, "-c", NEXT], self.folder, env)


def test_what_a_newer_application_writes_waits_for_a_newer_worker(
    plain_server: ValkeyServer, namespace: str, tmp_path: Path
) -> None:
    values = {"threshold": 0.8, "url": plain_server.url, "namespace": namespace, "model": "hash/64", "guard": False}
    environ = {f"NEARHIT_{name.upper()}": str(value) for name, value in values.items()}
    keys, now_ms = LogKeys(namespace), time.time_ns() // 1_000_000
    fill = {"v": 2, "s": "0" * 32, "t": "", "p": "a question", "r": b'"an answer"', "c": now_ms * 1000, "l": 600_000}
    fill |= {"f": 600_000, "e": "", "x": b"", "u": None, "a": b"", "new": True}
    later = msgpack.packb({"v": 2, "what": "nobody knows"})
    with Worker(tmp_path / "old", environ) as old:
        run(plain_server, fill_log.accept(keys, "interactive", [msgpack.packb(fill)], now_ms))
        for lane in (refresh_queue.LANE, verification.LANE):
            run(plain_server, fill_log.accept(keys, lane, [later], now_ms))
        wait_until(lambda: metric(old, "nearhit_log_retrying") == 3, 20, "all three wait")
        assert metric(old, "nearhit_retries_total") >= 3
    assert run(plain_server, dead_letters.letters(keys)) == []
    with NextWorker(tmp_path / "next", environ), plain_server.client() as client:
        entries = f"nearhit:{namespace}:*:e:*"
        wait_until(lambda: len(list(client.scan_iter(entries, count=1000))) == 1, 60, "the next release has stored it")
        assert client.zcard(keys.retry(refresh_queue.LANE)) == 1


def test_one_that_no_worker_knew_for_a_week_is_a_dead_letter_that_can_be_replayed(
    plain_server: ValkeyServer, namespace: str, tmp_path: Path
) -> None:
    values = {"threshold": 0.8, "url": plain_server.url, "namespace": namespace, "model": "hash/64", "guard": False}
    environ = {f"NEARHIT_{name.upper()}": str(value) for name, value in values.items()}
    keys, week_ago_ms = LogKeys(namespace), (time.time_ns() // 1_000_000) - 8 * 86_400_000
    run(plain_server, fill_log.accept(keys, "interactive", [msgpack.packb({"v": 2})], week_ago_ms))
    with Worker(tmp_path, environ):
        wait_until(lambda: bool(run(plain_server, dead_letters.letters(keys))), 20, "it is given up")
    (letter,) = run(plain_server, dead_letters.letters(keys))
    assert (letter.reason, letter.replayable) == ("undecodable", True)
    assert "version 2, and this process knows 1" in letter.detail
