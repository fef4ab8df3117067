"""A cross-encoder from a folder, run by onnxruntime."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from nearhit.errors import ConfigError, ContractError
from nearhit.flow.ports import Judgement, Sameness
from nearhit.judge.onnx_judge import OnnxJudge
from tests.support import cross_encoder

if TYPE_CHECKING:
    from pathlib import Path

ASKED = "how do i reset my password"
REWORDED = "please how do i reset my password"
OTHER = "how do i delete my account"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder.write(tmp_path_factory.mktemp("pairs"))


def ask(kind: str, judge: OnnxJudge, candidate: str) -> Judgement:
    if kind == "asyncio":
        return asyncio.run(judge.judge_async(ASKED, candidate, 5.0))
    return judge.judge(ASKED, candidate, 5.0)


def sigmoid(score: float) -> float:
    return 1 / (1 + math.exp(-score))


def test_the_score_becomes_a_probability_and_a_verdict(kind: str, folder: Path) -> None:
    judge = OnnxJudge(str(folder))
    same, different = ask(kind, judge, REWORDED), ask(kind, judge, OTHER)
    assert (same.verdict, different.verdict) == (Sameness.SAME, Sameness.DIFFERENT)
    assert same.probability == pytest.approx(sigmoid(4.0))
    assert different.probability == pytest.approx(sigmoid(4.0 - 2 * 4))


def test_the_level_decides_what_is_the_same(folder: Path) -> None:
    near = "how do i reset my"  # one word is missing: a score of 2
    assert OnnxJudge(str(folder), level=0.8).judge(ASKED, near, 5.0).verdict is Sameness.SAME
    assert OnnxJudge(str(folder), level=0.9).judge(ASKED, near, 5.0).verdict is Sameness.DIFFERENT


def test_a_model_with_two_numbers_gives_the_chance_of_the_second(tmp_path: Path) -> None:
    judge = OnnxJudge(str(cross_encoder.write(tmp_path, outputs=2)))
    assert judge.judge(ASKED, REWORDED, 5.0).probability == pytest.approx(sigmoid(4.0))
    assert judge.judge(ASKED, OTHER, 5.0).probability == pytest.approx(sigmoid(-4.0))


def test_a_model_that_takes_no_kinds_of_token_gets_none(tmp_path: Path) -> None:
    judge = OnnxJudge(str(cross_encoder.write(tmp_path, kinds=False)))
    assert 0.0 <= judge.judge(ASKED, OTHER, 5.0).probability <= 1.0


def test_very_long_texts_are_cut(folder: Path) -> None:
    judge = OnnxJudge(str(folder))
    assert judge.judge("reset " * 100_000, "reset " * 100_000, 5.0).verdict in Sameness


def test_threads_share_one_model(folder: Path) -> None:
    judge = OnnxJudge(str(folder))
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: judge.judge(ASKED, REWORDED, 5.0).verdict, range(64)))
    assert said == [Sameness.SAME] * 64


def test_a_lone_surrogate_is_a_contract_error(folder: Path) -> None:
    with pytest.raises(ContractError, match="Unicode"):
        OnnxJudge(str(folder)).judge("a \ud800", "b", 5.0)


def test_a_folder_that_holds_no_cross_encoder_is_a_mistake_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no model\.onnx"):
        OnnxJudge(str(tmp_path / "nowhere")).load()
    whole = cross_encoder.write(tmp_path / "whole")
    (whole / "tokenizer.json").rename(tmp_path / "kept")
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        OnnxJudge(str(whole)).load()
    (whole / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer file .* cannot be read"):
        OnnxJudge(str(whole)).load()
    (tmp_path / "kept").replace(whole / "tokenizer.json")
    (whole / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ConfigError, match=r"model file .* cannot be read"):
        OnnxJudge(str(whole)).load()


def test_a_model_of_three_classes_is_no_cross_encoder(tmp_path: Path) -> None:
    judge = OnnxJudge(str(cross_encoder.write(tmp_path, outputs=3)))
    with pytest.raises(ConfigError, match="3 numbers a pair"):
        judge.judge(ASKED, OTHER, 5.0)


def test_making_a_judge_loads_nothing() -> None:
    program = (
        "import sys\nfrom nearhit.judge.resolve import judge_for\n"
        "judge_for('onnx:/nowhere'), judge_for('litellm/openai/x')\n"
        "assert not {'onnxruntime', 'tokenizers', 'litellm', 'openai'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


FORKS = """
import os, sys
from nearhit.judge.deadline_judge import DeadlineJudge
from nearhit.judge.onnx_judge import OnnxJudge
judge = DeadlineJudge(OnnxJudge(sys.argv[1]))
said = judge.judge("reset my password", "please reset my password", 20.0)
child = os.fork()
if child == 0:
    os._exit(0 if judge.judge("reset my password", "please reset my password", 20.0) == said else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_child_judges_as_its_parent_does(folder: Path) -> None:
    command = [sys.executable, "-c", FORKS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
