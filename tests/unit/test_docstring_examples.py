"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import nearhit
from nearhit import Hit, Miss, Scope
from nearhit.domain.question import Question
from nearhit.guard import Guard

ROOT = Path(nearhit.__file__).parent
WITH_EXAMPLES = sorted(path for path in ROOT.rglob("*.py") if ">>> " in path.read_text())


def module_of(path: Path) -> ModuleType:
    return importlib.import_module(".".join(("nearhit", *path.relative_to(ROOT).with_suffix("").parts)))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_give_what_they_say(path: Path) -> None:
    found = doctest.testmod(module_of(path), optionflags=doctest.ELLIPSIS, report=True)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("kind", [Scope, Hit, Miss, Question, Guard])
def test_a_class_that_callers_use_shows_how(kind: type) -> None:
    assert ">>> " in (kind.__doc__ or "")
