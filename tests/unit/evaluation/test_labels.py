"""Labels of a judge: written down one by one, asked for once, with patience and without end."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from nearhit.errors import ConfigError, ContractError, JudgeUnavailableError
from nearhit.evaluation.labels import TRIES, Labels, Spent, label
from nearhit.evaluation.rows import read_pairs
from nearhit.evaluation.traffic import Candidate
from nearhit.flow.ports import Judgement, Sameness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAIRS = [Candidate(f"a{number}", f"b{number}") for number in range(12)]
SAME = Judgement(Sameness.SAME, 0.9, 10, 0.001)


class Judge:
    """A judge that does what a function of the prompt says."""

    name = "test/judge"

    def __init__(self, say: Callable[[str], Judgement]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._busy = 0
        self.asked: list[str] = []
        self.most_at_once = 0

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        with self._lock:
            self.asked.append(prompt)
            self._busy += 1
            self.most_at_once = max(self.most_at_once, self._busy)
        try:
            return self._say(prompt)
        finally:
            with self._lock:
                self._busy -= 1

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        return self.judge(prompt, candidate, timeout_seconds)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_labels_are_written_as_pairs_that_can_be_calibrated_again(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    verdicts = {"x": SAME, "y": Judgement(Sameness.DIFFERENT, 0.1), "z": Judgement(Sameness.UNSURE, 0.5)}
    scope = {"tenant": "t"}
    pairs = [Candidate(name, "c", ("", "", '{"tenant":"t"}'), {"scope": scope, "kind": "k"}) for name in verdicts]
    spent = label(pairs, Judge(lambda prompt: verdicts[prompt]), Labels(path), at_once=1)
    assert spent == Spent(3, 0, 10, 0.001)
    assert rows(path)[0] == {
        "prompt": "x",
        "candidate": "c",
        "same": True,
        "judge": "test/judge",
        "verdict": "same",
        "probability": 0.9,
        "scope": scope,
        "kind": "k",
    }
    read = read_pairs(path)
    assert [row.same for row in read] == [True, False, False]
    assert {(row.judge, row.kind, row.scope) for row in read} == {("test/judge", "k", '{"tenant":"t"}')}


def test_what_a_person_has_corrected_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    label(PAIRS[:1], Judge(lambda _: SAME), Labels(path))
    path.write_text(path.read_text().replace('"same": true', '"same": false').rstrip("\n"))
    labels = Labels(path)
    kept = labels.get(PAIRS[0])
    assert kept is not None
    assert kept.same is False
    label(PAIRS[1:2], Judge(lambda _: SAME), labels)
    assert [row["same"] for row in rows(path)] == [False, True]


def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    label(PAIRS[:3], Judge(lambda _: SAME), Labels(path), at_once=1)
    path.write_bytes(path.read_bytes()[:-20])
    labels = Labels(path)
    assert [labels.get(one) is not None for one in PAIRS[:4]] == [True, True, False, False]
    label(PAIRS[2:3], Judge(lambda _: SAME), labels)
    assert [row["prompt"] for row in rows(path)] == ["a0", "a1", "a2"]


def test_the_same_texts_of_another_caller_are_another_pair(tmp_path: Path) -> None:
    labels = Labels(tmp_path / "labels.jsonl")
    one, other = (Candidate("a", "b", (tenant, "", ""), {"tenant": tenant}) for tenant in "xy")
    label([one], Judge(lambda _: SAME), labels)
    assert labels.get(one) is not None
    assert labels.get(other) is None


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08", b'{"prompt": "a", "candidate": "b"}\n', b"nonsense\n"])
def test_a_file_that_holds_no_labels_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"labels\.jsonl"):
        Labels(path)
    assert path.read_bytes() == content
    with pytest.raises(ConfigError, match="cannot be written"):
        Labels(tmp_path / "nowhere" / "labels.jsonl")


def test_no_more_are_asked_at_once_than_allowed(tmp_path: Path) -> None:
    gate = threading.Barrier(3, timeout=10)  # 12 pairs, three at a time: nobody would come alone

    def say(_: str) -> Judgement:
        gate.wait()
        return SAME

    judge = Judge(say)
    assert label(PAIRS, judge, Labels(tmp_path / "l"), at_once=3).asked == len(PAIRS)
    assert judge.most_at_once == 3


def test_a_pair_without_a_verdict_has_no_label(tmp_path: Path) -> None:
    def say(prompt: str) -> Judgement:
        if prompt == "a1":
            raise ContractError("garbage")
        return SAME

    spent = label(PAIRS[:3], Judge(say), Labels(tmp_path / "l"))
    assert (spent.asked, spent.failed, spent.tokens) == (3, 1, 20)
    assert sorted(row["prompt"] for row in rows(tmp_path / "l")) == ["a0", "a2"]


def test_a_judge_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    failures = iter([JudgeUnavailableError("busy", retry_after_seconds=0.01)] * 2)

    def say(_: str) -> Judgement:
        error = next(failures, None)
        if error is not None:
            raise error
        return SAME

    judge = Judge(say)
    assert label(PAIRS[:1], judge, Labels(tmp_path / "l"), at_once=1).failed == 0
    assert judge.asked == ["a0"] * 3


@pytest.mark.parametrize(
    "error", [ConfigError("the key is refused"), JudgeUnavailableError("x", retry_after_seconds=0.0)]
)
def test_a_judge_that_stays_away_ends_it_and_what_was_labelled_stays(tmp_path: Path, error: Exception) -> None:
    def say(prompt: str) -> Judgement:
        if prompt == "a2":
            raise error
        return SAME

    judge = Judge(say)
    with pytest.raises(type(error)):
        label(PAIRS, judge, Labels(tmp_path / "l"), at_once=1)
    assert [row["prompt"] for row in rows(tmp_path / "l")][:2] == ["a0", "a1"]
    assert judge.asked.count("a2") == (1 if isinstance(error, ConfigError) else TRIES)
