"""docs/architecture.md names files and functions that exist, and every room of the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TOPS = "nearhit|worker|tasks|tests|docs|grafana|prometheus"
PATHS = sorted(set(re.findall(rf"(?<![\w/])((?:{TOPS})/[\w./-]*\w/?|README\.md|pyproject\.toml)", TEXT)))
STEPS = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^## )", TEXT, re.MULTILINE | re.DOTALL)
CHANGES = re.findall(r"^\| (?:a|an) [^|]+\| (.*) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_every_room_is_in_the_drawing() -> None:
    drawing = TEXT.partition("## Rooms")[2].partition("## The read path")[0]
    rooms = {f"nearhit/{one.parent.name}/" for one in (ROOT / "nearhit").glob("*/__init__.py")}
    assert sorted(room for room in rooms if room not in drawing) == []


def test_a_lookup_reaches_the_socket_in_twelve_files_or_fewer() -> None:
    assert "nearhit/cache.py" in STEPS[0]
    assert "socket" in STEPS[-1]
    assert len(set(re.findall(r"nearhit/[\w/]+\.py", " ".join(STEPS)))) <= 12


@pytest.mark.parametrize("row", [*STEPS, *CHANGES])
def test_every_function_that_a_step_or_a_change_names_is_in_one_of_its_files(row: str) -> None:
    sources = [(ROOT / path).read_text() for path in re.findall(rf"(?:{TOPS})/[\w/]+\.py", row)]
    for name in re.findall(r"`([A-Za-z_][\w.]*)`", row):
        if name.endswith((".py", ".md", ".toml", ".yml")):
            continue
        for part in name.split("."):
            assert any(re.search(rf"\b{part}\b", source) for source in sources), name


def test_the_page_says_where_to_make_ten_changes() -> None:
    assert len(CHANGES) >= 10
