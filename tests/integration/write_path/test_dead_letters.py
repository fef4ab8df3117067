"""Dead letters, poison, and what a worker may still do that was taken over from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgpack
import pytest

from nearhit import SemanticCache
from nearhit.cli.program import main
from nearhit.errors import ConfigError, StoreUnavailableError
from nearhit.flow.steps import ReplyError
from nearhit.testing import HashEmbedder
from nearhit.valkey.key_names import LogKeys
from nearhit.write import dead_letters, fill_log
from tests.support.log import drained, hashed, letters, prompts_in, run, wait_until_silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nearhit_worker.stack import ValkeyServer

    from nearhit.flow.ports import Embeddings
    from nearhit.settings import Settings

# litellm and what it imports warn of their own affairs
pytestmark = pytest.mark.filterwarnings("ignore")


def test_what_can_never_be_stored_is_a_dead_letter_at_once(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    runtime = hashed(made)
    runtime.space()
    good = {"v": 1, "s": "0" * 32, "t": "", "p": "p", "r": b'"a"', "c": time.time_ns() // 1000, "l": 60_000}
    good |= {"f": 60_000, "e": runtime.space().keys.embedder, "x": b"", "u": None, "a": b""}
    blobs = {
        "undecodable": [b"\xc1 no msgpack", b"", msgpack.packb({**good, "v": 0}), msgpack.packb({**good, "p": 7})],
        "bad_vector": [msgpack.packb({**good, "x": b"\0" * 4 * 63}), msgpack.packb({**good, "x": b"\0" * 4 * 64})],
    }
    every = [blob for some in blobs.values() for blob in some] + [msgpack.packb(good)]
    run(server, fill_log.accept(runtime.keys, "interactive", every, 1))
    runtime.tick("interactive")
    reasons = [letter.reason for letter in letters(server, made.namespace)]
    assert sorted(reasons) == sorted(reason for reason, some in blobs.items() for _ in some)
    assert prompts_in(server, made.namespace) == {"p": "a"}


def test_a_message_of_a_later_version_that_waited_for_a_week_is_kept_whole(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings()
    runtime = hashed(made)
    runtime.space()
    blob = msgpack.packb({"v": 99, "s": "0" * 32, "r": b"x" * 100_000})
    run(server, fill_log.accept(runtime.keys, "interactive", [blob], 1))
    runtime.tick("interactive")
    [letter] = letters(server, made.namespace)
    assert (letter.reason, letter.replayable, letter.blob == blob) == ("undecodable", True, True)


def test_fills_that_expired_in_the_log_are_counted_and_leave_no_letter(
    settings: Callable[..., Settings], server: ValkeyServer, capsys: pytest.CaptureFixture[str]
) -> None:
    made = settings()
    runtime = hashed(made)
    space = runtime.space()
    good = {"v": 1, "s": "0" * 32, "t": "", "p": "p", "r": b'"a"', "c": time.time_ns() // 1000, "l": 60_000}
    good |= {"f": 60_000, "e": space.keys.embedder, "x": b"", "u": None, "a": b""}
    late = [msgpack.packb({**good, "p": f"p{number}", "c": 1, "l": 1}) for number in range(300)]
    run(server, fill_log.accept(runtime.keys, "interactive", [*late, b"no fill" * 100_000, msgpack.packb(good)], 1))
    runtime.tick("interactive")
    found = [(letter.reason, len(letter.blob)) for letter in letters(server, made.namespace)]
    assert found == [("undecodable", 65_536)]
    assert prompts_in(server, made.namespace) == {"p": "a"}
    labels = {"namespace": made.namespace, "reason": "expired"}
    assert runtime.metrics.registry.get_sample_value("nearhit_dead_letters_total", labels) == 300
    assert main(["stats", "--url", server.url, "--namespace", made.namespace]) == 0
    assert "1, and 300 fills expired in the log" in capsys.readouterr().out


def test_dead_letters_are_replayed_once_or_dropped(settings: Callable[..., Settings], server: ValkeyServer) -> None:
    made = settings()
    runtime = hashed(made)
    runtime.space()
    with SemanticCache(made) as cache:
        cache.fill("a question", "an answer")
    flow = fill_log.read(runtime.keys, "interactive", "one", 10, last=True)
    [row] = run(server, flow)
    run(server, fill_log.dead_letter(runtime.keys, "interactive", row, "store", "for the test"))
    run(server, fill_log.take_in(runtime.keys, [], [(b"garbage", "bad_row", "no row")], 1))
    found = letters(server, made.namespace)
    assert [one.replayable for one in found] == [True, False]
    assert run(server, dead_letters.replay(runtime.keys, found)) == 1
    assert run(server, dead_letters.replay(runtime.keys, found)) == 0
    drained(runtime, server)
    assert prompts_in(server, made.namespace) == {"a question": "an answer"}
    [left] = letters(server, made.namespace)
    assert run(server, dead_letters.drop(runtime.keys, [left.id])) == 1
    with pytest.raises(ConfigError, match="no id"):
        run(server, dead_letters.drop(runtime.keys, ["-"]))


def test_neighbours_of_a_fill_that_kills_workers_are_stored_and_it_alone_is_buried(
    settings: Callable[..., Settings], server: ValkeyServer
) -> None:
    made = settings(claim_idle_ms=100, max_deliveries=3)

    class Fatal(BaseException):
        """A worker that dies: nothing catches it."""

    class Deadly(HashEmbedder):
        def embed(self, texts: Sequence[str], timeout_seconds: float) -> Embeddings:
            if "deadly" in texts:
                raise Fatal
            return super().embed(texts, timeout_seconds)

    with SemanticCache(made) as cache:
        for number in range(6):
            cache.fill("deadly" if number == 2 else f"question {number}", "an answer")
    for _ in range(12):
        runtime = hashed(made, embedder=Deadly(64))
        try:
            drained(runtime, server)
            break
        except Fatal:
            wait_until_silent(server, made.namespace, 100)
    assert len(prompts_in(server, made.namespace)) == 5
    [letter] = letters(server, made.namespace)
    assert (letter.reason, letter.fill and letter.fill.prompt) == ("poison", "deadly")


def test_an_error_inside_a_transaction_is_no_acceptance(server: ValkeyServer, namespace: str) -> None:
    keys = LogKeys(namespace)
    with server.client() as client:
        client.set(keys.log("interactive"), "no stream")
    with pytest.raises(StoreUnavailableError, match=r"WRONGTYPE|wrong kind"):
        run(server, fill_log.accept(keys, "interactive", [b"one"], 1))


def test_a_worker_that_was_taken_over_from_moves_nothing_any_more(server: ValkeyServer, namespace: str) -> None:
    keys = LogKeys(namespace)
    run(server, fill_log.open_log(keys, "interactive"))
    run(server, fill_log.accept(keys, "interactive", [b"one\0\xff|2|"], 5))
    [row] = run(server, fill_log.read(keys, "interactive", "stopped", 10, last=True))
    [silent] = run(server, fill_log.silent(keys, "interactive", 0, 10))
    [taken] = run(server, fill_log.claim(keys, "interactive", "second", 0, [silent]))
    assert taken.deliveries == 2
    assert run(server, fill_log.dead_letter(keys, "interactive", row, "poison", "")) == 0
    assert run(server, fill_log.retry_later(keys, "interactive", [(row, 1, 1)])) == 0
    assert run(server, fill_log.keep(keys, "interactive", "stopped", [row])) == 0
    assert run(server, fill_log.keep(keys, "interactive", "second", [taken])) == 1
    assert run(server, fill_log.retry_later(keys, "interactive", [(taken, 1, 7)])) == 1
    assert run(server, fill_log.promote(keys, "interactive", 2, 10)) == 1
    [again] = run(server, fill_log.read(keys, "interactive", "third", 10, last=True))
    assert (again.blob, again.tries, again.queued_ms) == (b"one\0\xff|2|", 7, 5)


def test_an_unreadable_reply_of_the_log_is_named(server: ValkeyServer, namespace: str) -> None:
    reply = ReplyError("WRONGTYPE Operation against a key", "ResponseError")
    flow = fill_log.promote(LogKeys(namespace), "bulk", 1, 1)
    next(flow)
    with pytest.raises(StoreUnavailableError, match="retry:bulk"):
        flow.send([reply])
