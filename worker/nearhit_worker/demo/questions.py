"""Questions: what the demo fills and asks, from the files that ship with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

DATA = Path(__file__).parent / "data"


class Kind(StrEnum):
    """How a question relates to the cached ones."""

    EXACT = "exact"
    REWORDING = "rewording"
    TRAP = "trap"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A question that the demo asks.

    Attributes:
        kind: how it relates to the cached ones.
        prompt: its text.
        right: the answer that would be right; empty where every cached answer is wrong.
    """

    kind: Kind
    prompt: str
    right: str = ""


def answers() -> list[tuple[str, str]]:
    """Return the questions that are cached, with their answers."""
    return [(row["prompt"], row["answer"]) for row in rows("answers")]


def questions() -> list[DemoQuestion]:
    """Return all that is asked: every cached question again, every rewording, trap and stranger."""
    by_id = {row["id"]: row for row in rows("answers")}
    return [
        *(DemoQuestion(Kind.EXACT, row["prompt"], row["answer"]) for row in by_id.values()),
        *(DemoQuestion(Kind.REWORDING, row["prompt"], by_id[row["answers"]]["answer"]) for row in rows("rewordings")),
        *(DemoQuestion(Kind.TRAP, row["prompt"]) for row in rows("traps")),
        *(DemoQuestion(Kind.STRANGER, row["prompt"]) for row in rows("strangers")),
    ]


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a file that ships with the demo."""
    text = (DATA / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]
