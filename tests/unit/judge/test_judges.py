"""The small parts of the second stage: its memory, its deadline, and the names of its judges."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from nearhit.errors import ConfigError, ContractError, JudgeUnavailableError
from nearhit.flow.ports import Judgement, Sameness
from nearhit.judge.deadline_judge import DeadlineJudge
from nearhit.judge.litellm_judge import LiteLLMJudge
from nearhit.judge.onnx_judge import OnnxJudge
from nearhit.judge.resolve import judge_for
from nearhit.judge.verdict_cache import VerdictCache
from nearhit.settings import Settings

UNKNOWN: Any = "same"
SAID = Judgement(Sameness.SAME, 0.9)


class Judge:
    """A judge that gives or raises ``gives``, or waits for ``gate``."""

    name = "test/judge"

    def __init__(self, gives: Any = SAID, gate: threading.Event | None = None) -> None:
        self._gives = gives
        self._gate = gate

    def judge(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        if self._gate is not None:
            self._gate.wait(20)
        if isinstance(self._gives, Exception):
            raise self._gives
        return self._gives  # type: ignore[no-any-return]

    async def judge_async(self, prompt: str, candidate: str, timeout_seconds: float) -> Judgement:
        if self._gate is not None:
            await asyncio.sleep(20)
        return self.judge(prompt, candidate, timeout_seconds)


def ask(kind: str, judge: DeadlineJudge, seconds: float = 5.0) -> Judgement:
    if kind == "asyncio":
        return asyncio.run(judge.judge_async("a", "b", seconds))
    return judge.judge("a", "b", seconds)


def test_a_judgement_is_passed_on(kind: str) -> None:
    assert ask(kind, DeadlineJudge(Judge())) == SAID


@pytest.mark.parametrize(
    ("raised", "named", "text"),
    [
        (JudgeUnavailableError("busy"), JudgeUnavailableError, "busy"),
        (ContractError("garbage"), ContractError, "garbage"),
        (ConfigError("the key is refused"), JudgeUnavailableError, "the key is refused"),
        (RuntimeError("a secret"), JudgeUnavailableError, "test/judge raised RuntimeError"),
    ],
    ids=repr,
)
def test_what_a_judge_raises_comes_out_as_one_of_two_kinds(
    kind: str, raised: Exception, named: type[Exception], text: str
) -> None:
    with pytest.raises(named, match=text) as caught:
        ask(kind, DeadlineJudge(Judge(raised)))
    assert type(caught.value) is named
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [None, True, "same", ("same", 1.0), Judgement(UNKNOWN, 1.0), Judgement(Sameness.SAME, float("nan"))],
    ids=repr,
)
def test_what_is_no_judgement_is_a_contract_error(kind: str, said: Any) -> None:
    with pytest.raises(ContractError, match="test/judge"):
        ask(kind, DeadlineJudge(Judge(said)))


def test_a_judge_that_hangs_holds_its_caller_no_longer_than_the_deadline(kind: str) -> None:
    gate = threading.Event()
    started = time.monotonic()
    with pytest.raises(JudgeUnavailableError, match=r"gave no answer within 0\.05 s"):
        ask(kind, DeadlineJudge(Judge(gate=gate)), 0.05)
    assert time.monotonic() - started < 2.0
    gate.set()


def test_a_judge_of_the_callers_need_not_load_and_may_break_when_it_does() -> None:
    class Broken(Judge):
        def load(self) -> None:
            raise OSError("no such disk")

    DeadlineJudge(Judge()).load()
    with pytest.raises(JudgeUnavailableError, match="test/judge raised OSError"):
        DeadlineJudge(Broken()).load()


def test_memory_keeps_judge_prompt_and_candidate_apart() -> None:
    memory = VerdictCache()
    memory.put("j", "ab", "c", SAID)
    assert memory.get("j", "ab", "c") is SAID
    assert [memory.get(*other) for other in (("j", "a", "bc"), ("j", "c", "ab"), ("k", "ab", "c"))] == [None] * 3


def test_memory_forgets_what_was_asked_longest_ago() -> None:
    memory = VerdictCache(2)
    for text in "ab":
        memory.put("j", text, text, SAID)
    memory.get("j", "a", "a")
    memory.put("j", "c", "c", SAID)
    assert [memory.get("j", text, text) is SAID for text in "abc"] == [True, False, True]


def test_a_setting_names_a_judge() -> None:
    assert judge_for("") is None
    assert isinstance(judge_for("litellm/openai/gpt-4o-mini"), LiteLLMJudge)
    assert isinstance(judge_for("onnx:/models/pairs"), OnnxJudge)
    assert [judge_for(name).name for name in ("litellm/ollama/x", "onnx:/m")] == ["litellm/ollama/x", "onnx:/m"]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["gpt-4o-mini", "litellm", "litellm/", "onnx:", "onnx/x", " "])
def test_a_name_of_no_judge_is_a_mistake_of_the_operator(name: str) -> None:
    with pytest.raises(ConfigError, match="judge"):
        judge_for(name)
    with pytest.raises(ConfigError, match="judge"):
        Settings(threshold=0.9, judge=name)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"judge_below": 1.1}, {"judge_level": -0.1}, {"judge_deadline_ms": 0}, {"judge_on_failure": "maybe"}),
        {"judge": "onnx:/m", "deadline_ms": 100, "judge_deadline_ms": 101},
    ],
    ids=str,
)
def test_a_setting_of_the_second_stage_that_is_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(reversed(wrong))):
        Settings(threshold=0.9, **wrong)


def test_a_short_deadline_without_a_judge_is_no_mistake() -> None:
    assert Settings(threshold=0.9, deadline_ms=50).judge == ""
