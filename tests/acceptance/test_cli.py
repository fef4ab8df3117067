"""The command line, as real processes from a fresh home: what a newcomer types, and what is left when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
import redis
from nearhit_worker.stack import free_port, wait_until

from tests.support.terminal import Ended, Terminal, still_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUESTION = "How do I reset my password?"
REWORDED = "How can I reset my password?"
ANSWER = "Use the link on the sign-in page."


def entries(up: dict[str, Any]) -> set[bytes]:
    """Return the keys of all entries on the stack's server."""
    with redis.Redis.from_url(up["url"].replace("valkey://", "redis://")) as client:
        return set(client.scan_iter("nearhit:*:e:*", count=1000))


def consumers(url: str) -> list[Any]:
    """Return the workers that the fill log knows."""
    with redis.Redis.from_url(url) as client:
        logs = list(client.scan_iter("nearhit:*:log:interactive", count=1000))
        return [one for log in logs for one in client.xinfo_consumers(log, "nearhit")]


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal on a machine where nothing is set."""
    return Terminal(tmp_path)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `nearhit up --json` says of the stack that it runs while this module's tests do."""
    terminal = Terminal(tmp_path_factory.mktemp("up"))
    running = terminal.start("up", "--port", str(free_port()), "--json")
    said: dict[str, Any] = running.document()
    yield said
    ended = running.end(signal.SIGINT)
    assert (ended.code, still_running(said["pids"])) == (130, [])


@pytest.fixture
def beside(tmp_path: Path, up: dict[str, Any]) -> Terminal:
    """Another terminal, with the variables that `nearhit up` says to copy."""
    return Terminal(tmp_path, **up["environment"])


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, up: dict[str, Any]) -> Ended:
    """What became of five rows from stdin, three of them bad."""
    rows = [
        json.dumps({"prompt": QUESTION, "answer": ANSWER}),
        "{broken",
        json.dumps({"prompt": "No answer here"}),
        json.dumps({"prompt": "Which sizes?", "answer": {"sizes": ["S", "XL"]}, "scope": {"model": "m"}}),
        json.dumps({"prompt": "   ", "answer": "to nothing"}),
    ]
    terminal = Terminal(tmp_path_factory.mktemp("fill"), **up["environment"])
    return terminal.run("fill", "--wait", "--json", stdin="\n".join(rows))


def test_rows_from_stdin_are_filled_and_bad_ones_are_named_by_line(filled: Ended) -> None:
    assert filled.code == 1
    assert (filled.document["fills"], filled.document["searchable"]) == ({"accepted": 2, "bad": 3}, True)
    assert [line.split(": ")[1] for line in filled.err.splitlines()] == ["line 2", "line 3", "line 5"]


@pytest.mark.usefixtures("filled")
def test_an_answered_question_is_a_hit_in_other_words(beside: Terminal) -> None:
    reworded = beside.run("lookup", REWORDED, "--json")
    found = reworded.document
    assert (reworded.code, found["outcome"], found["tier"], found["nearest"]) == (0, "hit", "semantic", QUESTION)
    assert found["answer"] == ANSWER
    assert 0.9 < found["similarity"] < 1
    assert {"exact", "embed", "total"} <= set(found["stages_ms"])


@pytest.mark.usefixtures("filled")
def test_an_answer_is_found_in_its_scope_alone(beside: Terminal) -> None:
    inside = beside.run("lookup", "Which sizes?", "--scope", "model=m", "--json")
    assert (inside.code, inside.document["tier"], inside.document["answer"]) == (0, "exact", {"sizes": ["S", "XL"]})
    outside = beside.run("lookup", "Which sizes?", "--scope", "model=m", "--tenant", "another", "--json")
    assert (outside.code, outside.document["reason"]) == (1, "empty")


@pytest.mark.usefixtures("filled")
def test_a_lookup_for_people_shows_the_answer_without_colour_in_a_file(beside: Terminal) -> None:
    shown = beside.run("lookup", QUESTION).out
    assert shown.startswith("hit  exact\n")
    assert ANSWER in shown
    assert "\x1b" not in shown


@pytest.mark.usefixtures("filled")
def test_stats_are_read_from_the_servers(beside: Terminal, up: dict[str, Any]) -> None:
    found = beside.run("stats", "--json").document
    assert found["entries"] == len(entries(up)) > 0
    assert found["engine"] == "local"
    assert [one["model"] for one in found["embedders"]] == ["local/minilm"]
    assert found["log"]["lanes"]["interactive"]["fills"] == 0
    assert (found["log"]["dead_letters"], len(found["workers"])) == (0, 1)


def test_the_doctor_walks_the_whole_path_and_leaves_no_entry(beside: Terminal, up: dict[str, Any]) -> None:
    before = entries(up)
    done = beside.run("doctor", "--json")
    by_check = {one["check"]: one for one in done.documents}
    assert {one["status"] for one in by_check.values()} == {"pass"}
    assert done.code == 0
    assert "1 at work" in by_check["workers"]["text"]
    assert "a rewording hit" in by_check["self-test"]["text"]
    assert "384 dimensions" in by_check["embedder"]["text"]
    assert entries(up) <= before


def test_the_doctor_says_what_to_do_and_fails(beside: Terminal) -> None:
    done = beside.run("doctor", "--url", "valkey://127.0.0.1:1", "--model", "hash/64", "--threshold", "0.9", "--json")
    failed = {one["check"]: one["advice"] for one in done.documents if one["status"] == "fail"}
    assert done.code == 1
    assert set(failed) == {"cache server", "log server", "broker"}
    assert "NEARHIT_URL" in failed["cache server"]


def test_explain_needs_no_server(terminal: Terminal) -> None:
    same = terminal.run("explain", QUESTION, REWORDED, "--json")
    other = terminal.run("explain", "Solo for 4 people?", "Solo for 9 people?", "--similarity", "0.98", "--json")
    assert (same.code, same.document["would_hit"]) == (0, True)
    assert (other.code, other.document["accepted"], other.document["reason"]) == (1, False, "number")


def test_what_was_kept_is_there_after_a_restart_and_a_part_that_dies_ends_all(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, NEARHIT_MODEL="hash/64", NEARHIT_THRESHOLD="0.9")
    words = ("up", "--port", str(free_port()), "--data", str(tmp_path / "data"), "--json")

    first = terminal.start(*words)
    said = first.document()
    beside = Terminal(tmp_path, **said["environment"])
    assert beside.run("fill", QUESTION, ANSWER, "--wait").code == 0
    assert terminal.run(*words[:2], str(free_port()), *words[3:]).err.startswith("nearhit: --data: another nearhit up")
    ended = first.end(signal.SIGTERM)
    assert (ended.code, still_running(said["pids"])) == (0, [])

    second = terminal.start(*words)
    said = second.document()
    assert beside.run("lookup", QUESTION).code == 0
    os.kill(said["pids"]["worker"], signal.SIGKILL)
    ended = second.end(None)
    assert (ended.code, still_running(said["pids"])) == (1, [])
    assert "nearhit: worker ended with code -9:" in ended.err
    assert "Traceback" not in ended.err


def test_ctrl_c_stops_every_process_and_takes_the_data_away(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, NEARHIT_MODEL="hash/64", NEARHIT_THRESHOLD="0.9")
    running = terminal.start("up", "--port", "0", "--json")
    said = running.document()
    assert set(said["pids"]) == {"valkey", "worker"}
    ended = running.end(signal.SIGINT)
    assert (ended.code, still_running(said["pids"])) == (130, [])
    assert list(terminal.temporary.glob("nearhit-*")) == []
    assert "Traceback" not in ended.err


def test_a_port_in_use_is_a_mistake_that_starts_nothing(terminal: Terminal, up: dict[str, Any]) -> None:
    port = up["url"].rpartition(":")[2].partition("/")[0]
    ended = terminal.run("up", "--port", port)
    assert (ended.code, ended.err) == (2, f"nearhit: --port: something listens on port {port} already\n")


@pytest.mark.usefixtures("filled")
def test_an_export_that_fails_leaves_no_file(beside: Terminal, tmp_path: Path) -> None:
    ended = beside.run("export", "--to", str(tmp_path / "all.parquet"))
    assert (ended.code, "an answer is not text but dict; export as .jsonl" in ended.err) == (2, True)
    assert list(tmp_path.glob("*.parquet*")) == []


def test_a_worker_whose_port_of_metrics_is_taken_says_so_in_one_line(terminal: Terminal) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = terminal.run("worker", "--metrics-port", str(port))
    *_, last = ended.err.splitlines()
    assert (ended.code, len(ended.err.splitlines())) == (2, 2), "what it starts, and why not"
    assert last.startswith(f"nearhit: /metrics cannot listen on 127.0.0.1:{port}: another program listens there")
    assert "--metrics-port" in last


def test_a_reader_that_goes_away_is_no_failure(terminal: Terminal) -> None:
    running = terminal.start("--help")
    assert running.process.stdout is not None
    running.process.stdout.close()
    running.process.wait(30)
    assert running.process.stderr is not None
    assert "Traceback" not in running.process.stderr.read()
    running.process.stderr.close()


def test_a_worker_that_is_interrupted_ends_as_other_commands_do(beside: Terminal) -> None:
    running = beside.start("worker", "--metrics-port", "0")
    url = str(beside.env["NEARHIT_URL"]).replace("valkey://", "redis://")
    wait_until(lambda: len(consumers(url)) > 1, 30, "a second worker looks at the log")
    assert running.end(signal.SIGINT).code == 130


def test_a_worker_that_is_refused_says_so_and_ends(beside: Terminal) -> None:
    url = str(beside.env["NEARHIT_URL"]).replace("valkey://", "valkey://nobody:wrong@")
    ended = beside.run("worker", "--url", url, "--log-url", url, "--metrics-port", "0")
    assert ended.code == 3
    assert "authentication failed" in ended.err
    assert "wrong" not in ended.out + ended.err
    assert "correct the user and the password" in beside.run("doctor", "--url", url, "--log-url", url).out
