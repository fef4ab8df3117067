"""What an import costs: litellm takes seconds, so nothing imports it before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["nearhit", "nearhit.litellm", "nearhit.litellm.backend", "nearhit.litellm.install"])
def test_importing_does_not_import_litellm(module: str) -> None:
    program = f"import sys, {module}; print(sorted({{'litellm', 'langchain_core', 'celery'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_importing_nearhit_does_not_import_its_litellm_part() -> None:
    program = "import sys, nearhit; print('nearhit.litellm' in sys.modules, 'nearhit.langchain' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
