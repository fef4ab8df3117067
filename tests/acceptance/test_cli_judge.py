"""The commands that ask a judge, against a real provider on loopback: what people and programs read of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nearhit.evaluation.calibrate import pairs_needed
from tests.support.judge_server import JudgeServer
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "openai/gpt-4o-mini"
NEEDED = 29
"""Pairs that prove a budget of 0.1 with a confidence of 0.9, when none is false."""


@pytest.fixture
def provider() -> Iterator[JudgeServer]:
    with JudgeServer() as server:
        server.say_of = lambda asked, cached: json.dumps({"verdict": "same" if "not" not in cached else "different"})
        yield server
        server.release()


@pytest.fixture
def terminal(tmp_path: Path, provider: JudgeServer) -> Terminal:
    return Terminal(tmp_path, NEARHIT_MODEL="hash/256", OPENAI_API_BASE=provider.url, OPENAI_API_KEY="sk-none")


def stream(path: Path, *tenants: tuple[str, int]) -> str:
    """Write a stream of questions: so many that are near to one before them, for each tenant."""
    with path.open("w", encoding="utf-8") as file:
        for tenant, count in tenants:
            whose = {"scope": {"tenant": tenant}} if tenant else {}
            for at in range(count):
                for text in (f"how do i reset password {tenant}{at}", f"how do i reset my password {tenant}{at}"):
                    file.write(json.dumps({"prompt": text, "cluster": "unused", **whose}) + "\n")
    return str(path)


def calibrate(terminal: Terminal, file: str, *more: str) -> Any:
    limits = ("--budget", "0.1", "--confidence", "0.9", "--floor", "0.8", "--no-guard", "--json")
    return terminal.run("calibrate", file, "--judge", MODEL, "--out-labels", "labels.jsonl", *limits, *more)


def labels(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]


def test_it_takes_so_many_pairs_to_prove_a_budget() -> None:
    assert pairs_needed(0.1, 0.9) == NEEDED


def test_traffic_is_labelled_and_calibrated(terminal: Terminal, provider: JudgeServer, tmp_path: Path) -> None:
    file = stream(tmp_path / "stream.jsonl", ("", 40))
    ended = calibrate(terminal, file, "--sample", "30", "--report", "page.html")
    assert ended.code == 0, ended.err
    found = ended.document
    assert found["thresholds"]["all"]["false_hits"] == 0
    judged = found["judged"]
    assert (judged["judge"], judged["sampled"], judged["asked"], judged["known"]) == (f"litellm/{MODEL}", 30, 30, 0)
    assert judged["pairs_found"] >= 40
    assert judged["tokens"] == 30 * 18
    assert judged["cost_dollars"] == pytest.approx(30 * (11 * 0.15e-6 + 7 * 0.6e-6), abs=1e-6)
    assert judged["estimated_dollars"] > 0
    assert "about 30 pairs: about" in ended.err
    assert len(provider.pairs) == len(labels(tmp_path)) == 30
    assert {row["judge"] for row in labels(tmp_path)} == {f"litellm/{MODEL}"}
    page = (tmp_path / "page.html").read_text()
    assert f"30 of 30 labels were given by litellm/{MODEL}" in page
    again = terminal.run("calibrate", "labels.jsonl", "--budget", "0.1", "--confidence", "0.9", "--no-guard", "--json")
    assert again.document["thresholds"]["all"]["hits"] > 0
    assert again.document["judged"] is None


def test_what_is_labelled_is_not_asked_again_and_a_correction_counts(
    terminal: Terminal, provider: JudgeServer, tmp_path: Path
) -> None:
    file = stream(tmp_path / "stream.jsonl", ("", 40))
    assert calibrate(terminal, file, "--sample", "32").code == 0
    path = tmp_path / "labels.jsonl"
    path.write_text(path.read_text().replace('"same": true', '"same": false'))
    second = calibrate(terminal, file, "--sample", "32")
    assert second.code == 1
    assert (second.document["judged"]["known"], second.document["judged"]["asked"]) == (32, 0)
    assert second.document["thresholds"]["all"]["threshold"] is None
    assert len(provider.pairs) == 32
    third = calibrate(terminal, file, "--sample", "38")
    assert (third.document["judged"]["known"], third.document["judged"]["asked"]) == (32, 6)
    assert len(provider.pairs) == len(set(provider.pairs)) == 38


def test_a_scope_with_too_few_pairs_takes_the_overall_threshold(terminal: Terminal, tmp_path: Path) -> None:
    file = stream(tmp_path / "stream.jsonl", ("acme", 30), ("tiny", 3))
    found = calibrate(terminal, file, "--report", "page.html").document
    acme, tiny = '{"tenant":"acme"}', '{"tenant":"tiny"}'
    assert found["by"] == "scope"
    assert found["thresholds"].keys() == {acme, tiny}
    assert found["too_few_pairs"].keys() == {tiny}
    assert found["too_few_pairs"][tiny]["needed"] == NEEDED
    assert found["thresholds"][tiny] == found["overall"]
    assert found["thresholds"][acme]["hits"] < found["overall"]["hits"]
    assert "the overall one: only" in (tmp_path / "page.html").read_text()
    limits = ("--budget", "0.1", "--confidence", "0.9", "--floor", "0.8", "--no-guard")
    text = terminal.run("calibrate", "labels.jsonl", *limits).out
    assert "overall: threshold" in text
    assert f"pairs of its own, and {NEEDED} are needed)" in text


def test_pairs_without_labels_are_labelled_as_they_are(
    terminal: Terminal, provider: JudgeServer, tmp_path: Path
) -> None:
    pairs = [{"prompt": f"do this {n}", "candidate": f"do {'not' if n < 5 else 'so'} {n}"} for n in range(30)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    assert calibrate(terminal, str(path)).document["judged"]["asked"] == 30
    assert sum(row["same"] for row in labels(tmp_path)) == 25
    assert {row["candidate"] for row in labels(tmp_path) if not row["same"]} == {f"do not {n}" for n in range(5)}


def test_a_refused_key_ends_it_at_once(terminal: Terminal, provider: JudgeServer, tmp_path: Path) -> None:
    provider.status = 401
    ended = calibrate(terminal, stream(tmp_path / "stream.jsonl", ("", 20)))
    assert ended.code == 2
    assert f"judge '{MODEL}'" in ended.err
    assert len(provider.pairs) <= 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--judge", MODEL), "needs --out-labels"),
        (("--judge", MODEL, "--out-labels", "stream.jsonl"), "the file of the traffic itself"),
        (("--judge", MODEL, "--out-labels", "l", "--sample", "0"), "--sample must be at least 1"),
        (("--judge", MODEL, "--out-labels", "l", "--at-once", "0"), "--at-once must be at least 1"),
        (("--judge", " ", "--out-labels", "l"), "the judge's model string is empty"),
        (("--judge", "onnx:nowhere", "--out-labels", "l"), "has no model.onnx"),
        (("--out-labels", "l"), "--out-labels is for the labels of --judge"),
    ],
)
def test_a_mistake_is_one_line(terminal: Terminal, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ended = terminal.run("calibrate", stream(tmp_path / "stream.jsonl", ("", 3)), *words)
    assert ended.code == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_explain_shows_what_a_judge_says(terminal: Terminal, provider: JudgeServer) -> None:
    pair = ("how do i reset my password", "how do i reset my password please")
    words = ("explain", *pair, "--threshold", "0.5", "--similarity", "0.97")
    found = terminal.run(*words, "--judge", MODEL, "--json")
    assert found.code == 0, found.err
    assert found.document["judge"]["verdict"] == "same"
    assert found.document["judge"]["tokens"] == 18
    assert "judge" not in terminal.run(*words, "--json").document
    provider.say_of = lambda asked, cached: '{"verdict": "unsure", "p_same": 0.4}'
    unsure = terminal.run(*words, "--judge", f"litellm/{MODEL}")
    assert unsure.code == 1
    assert f"unsure (chance of the same 0.40), litellm/{MODEL}" in unsure.out
    provider.say_of = lambda asked, cached: "hm"
    assert "verdict" in terminal.run(*words, "--judge", MODEL).err
    provider.status = 429
    assert terminal.run(*words, "--judge", MODEL).code == 3
