"""The demo data: its counts, its references and its prompts, checked without a model."""

import json
from collections import Counter
from pathlib import Path

import nearhit_worker.demo
import pytest

DATA = Path(nearhit_worker.demo.__file__).parent / "data"
FIELDS = {
    "answers": {"id", "prompt", "answer"},
    "rewordings": {"id", "prompt", "answers"},
    "traps": {"id", "prompt", "near", "differs"},
    "strangers": {"id", "prompt"},
}
MINIMUM = {"answers": 220, "rewordings": 70, "traps": 50, "strangers": 30}
DIFFERENCES = {"number", "negation", "direction", "entity", "attribute", "time", "role", "condition"}
MAX_PROMPT_CHARS = 500


def rows(name: str) -> list[dict[str, str]]:
    text = (DATA / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def all_rows() -> list[dict[str, str]]:
    return [row for name in FIELDS for row in rows(name)]


def repeated(values: list[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


def is_clean_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value == value.strip()


def answer_ids() -> set[str]:
    return {row["id"] for row in rows("answers")}


@pytest.mark.parametrize("name", FIELDS)
def test_a_file_holds_at_least_its_promised_number_of_rows(name: str) -> None:
    assert len(rows(name)) >= MINIMUM[name]


@pytest.mark.parametrize("name", FIELDS)
def test_every_row_has_exactly_the_fields_of_its_file(name: str) -> None:
    assert [row for row in rows(name) if set(row) != FIELDS[name]] == []


def test_every_value_is_a_text_without_blank_edges() -> None:
    values = [value for row in all_rows() for value in row.values()]
    assert [value for value in values if not is_clean_text(value)] == []


def test_ids_are_unique_across_the_files() -> None:
    assert repeated([row["id"] for row in all_rows()]) == []


def test_every_rewording_points_to_an_answer() -> None:
    assert {row["answers"] for row in rows("rewordings")} - answer_ids() == set()


def test_every_trap_lies_near_an_answer() -> None:
    assert {row["near"] for row in rows("traps")} - answer_ids() == set()


def test_traps_use_every_kind_of_difference_and_no_other() -> None:
    assert {row["differs"] for row in rows("traps")} == DIFFERENCES


def test_no_prompt_appears_twice_when_case_and_spaces_are_folded() -> None:
    assert repeated([" ".join(row["prompt"].casefold().split()) for row in all_rows()]) == []


def test_no_prompt_is_longer_than_the_limit() -> None:
    assert [row["id"] for row in all_rows() if len(row["prompt"]) > MAX_PROMPT_CHARS] == []
