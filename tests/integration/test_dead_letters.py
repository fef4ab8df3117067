"""The command that works on dead letters, against a real log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nearhit import SemanticCache
from nearhit.cli import main
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_for
from nearhit.write import fill_log
from tests.support.log import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit.settings import Settings


@pytest.fixture
def server(plain_server: ValkeyServer) -> ValkeyServer:
    """The log is the same for both engines."""
    return plain_server


@pytest.fixture
def say(
    server: ValkeyServer, namespace: str, settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run `nearhit dead` where two fills and a refused message lie dead."""
    keys = LogKeys(namespace)
    with SemanticCache(settings()) as cache:
        for number in range(2):
            cache.fill(f"question {number}", f"answer {number}")
    rows = run(server, fill_log.read(keys, "interactive", "one", 10, last=True))
    for row in rows:
        run(server, fill_log.dead_letter(keys, "interactive", row, "retries_exhausted", "for the test"))
    run(server, fill_log.take_in(keys, [], [(b"\x80garbage", "refused_message", "no task")], 1))

    def run_it(*words: str) -> tuple[int, str]:
        code = main(["dead", *words, "--url", server.url, "--namespace", namespace])
        return code, capsys.readouterr().out

    return run_it


def test_an_id_that_is_not_there_is_named(
    server: ValkeyServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in ("show", "replay", "drop"):
        assert main(["dead", action, "1-0", "--url", server.url, "--namespace", namespace]) == 1
        assert capsys.readouterr().err == "nearhit: there is no dead letter '1-0'\n"


def test_dead_list_shows_ids_and_reasons_and_no_text(say: Callable[..., tuple[int, str]]) -> None:
    code, out = say("list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["reason"] for row in rows] == ["retries_exhausted", "retries_exhausted", "refused_message"]
    assert [row["replayable"] for row in rows] == [True, True, False]
    assert "question" not in out
    assert "refused_message" in say("list", "--reason", "refused_message")[1]


def test_dead_show_gives_question_and_answer(say: Callable[..., tuple[int, str]]) -> None:
    first = json.loads(say("list", "--json")[1].splitlines()[0])["id"]
    code, out = say("show", first, "--json")
    assert code == 0
    assert json.loads(out)["prompt"] == "question 0"
    assert json.loads(out)["answer"] == '"answer 0"'


def test_dead_replay_puts_back_what_can_be_read_and_drop_removes_the_rest(
    say: Callable[..., tuple[int, str]], server: ValkeyServer, namespace: str
) -> None:
    assert say("replay", "--all", "--json") == (0, '{"replay": 2, "left": 1}\n')
    link = link_for(server.client())
    log, dead = link.send((("XLEN", LogKeys(namespace).log("interactive")), ("XLEN", LogKeys(namespace).dead)), 5.0)
    link.close()
    assert (log, dead) == (2, 1)
    assert say("drop", "--all", "--json") == (0, '{"drop": 1, "left": 0}\n')
    assert "no dead letters" in say("list")[1]


@pytest.mark.parametrize("words", [("replay",), ("drop",), ("show", "garbage")])
def test_dead_does_nothing_that_was_not_asked_for_by_name(
    say: Callable[..., tuple[int, str]], words: tuple[str, ...]
) -> None:
    assert say(*words)[0] == 2
    assert len(say("list", "--json")[1].splitlines()) == 3
