"""How a worker's log lines look, and which are held back."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from nearhit_worker.log_output import JsonLines, Repeats, TextLines


def record(text: str, *arguments: Any, name: str = "nearhit", level: int = logging.WARNING, **extra: Any) -> Any:
    return logging.getLogger(name).makeRecord(name, level, "", 0, text, arguments, None, extra=extra)


def test_what_is_said_again_is_held_back_and_counted_for_each_part() -> None:
    repeats = Repeats(0.2)
    one: dict[str, Any] = {"part": "log"}
    assert repeats.filter(record("%s failed: %s", "tick", "x", action="tick", **one))
    assert not repeats.filter(record("%s failed: %s", "observe", "y", action="observe", **one))
    assert repeats.filter(record("%s failed: %s", "check", "x", action="check", part="cache"))
    assert repeats.filter(record("another %s", "text", action="tick", **one))
    assert all(repeats.filter(record("news", level=logging.INFO)) for _ in range(3))
    time.sleep(0.25)  # the time itself is under test
    again = record("%s failed: %s", "tick", "x", action="tick", **one)
    assert repeats.filter(again)
    assert again.repeats == 1
    assert TextLines().format(again).endswith("nearhit tick failed: x (1 more since the last such line)")
    assert json.loads(JsonLines().format(again))["repeats"] == 1


def test_a_line_of_json_holds_our_fields_and_none_of_celery_s() -> None:
    row = json.loads(JsonLines().format(record("fill given up", reason="poison", lane="bulk")))
    assert (row["message"], row["level"], row["reason"], row["lane"]) == ("fill given up", "warning", "poison", "bulk")
    theirs = JsonLines().format(record("task %s", "t", name="celery.app.trace", data={"args": "the question"}))
    assert "the question" not in theirs


def test_an_exception_is_part_of_the_one_line() -> None:
    made = record("it failed")
    try:
        int("two\nlines")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = JsonLines().format(made)
    assert "\n" not in line
    assert "ValueError: invalid literal" in json.loads(line)["exception"]
