"""The lock files of the image: everything that the project asks for, by version and hash."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from nearhit.embedding.minilm.folder import REQUIREMENT
from tests.support import observability as seen

LOCKS = seen.ROOT / "deploy" / "image"
PROJECT = tomllib.loads((seen.ROOT / "pyproject.toml").read_text())
IMAGE = {"python_version": "3.13", "python_full_version": "3.13.5", "sys_platform": "linux", "extra": ""}
_PIN = re.compile(
    r"^([a-z0-9.-]+)==([^ ;]+)(?: ; ([^\\]+))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def pins(name: str) -> dict[str, str]:
    """Return the versions by package of a lock file."""
    return {package: version for package, version, _, _ in _PIN.findall((LOCKS / name).read_text())}


def wanted(extra: str) -> list[Requirement]:
    """Return what the project asks for in an extra, and what that asks for of its other extras."""
    project = PROJECT["project"]
    found = [Requirement(one) for one in [*project["dependencies"], *project["optional-dependencies"][extra]]]
    inner = [name for one in found if one.name == "nearhit" for name in one.extras]
    return [one for one in found if one.name != "nearhit"] + [one for name in inner for one in wanted(name)]


@pytest.mark.parametrize("name", ["worker.lock", "model.lock", "build.lock"])
def test_every_line_is_a_version_with_its_hashes(name: str) -> None:
    text = (LOCKS / name).read_text()
    named = re.findall(r"^([a-z0-9.-]+)", text, re.MULTILINE)
    assert sorted(pins(name)) == sorted(named) != []


@pytest.mark.parametrize(
    ("name", "requirements"),
    [
        ("worker.lock", wanted("worker")),
        ("model.lock", [Requirement(REQUIREMENT)]),
        ("build.lock", [Requirement(one) for one in PROJECT["build-system"]["requires"]]),
    ],
    ids=["worker", "model", "build"],
)
def test_the_versions_are_those_that_the_project_asks_for(name: str, requirements: list[Requirement]) -> None:
    found = pins(name)
    assert requirements
    for one in requirements:
        if one.marker is None or one.marker.evaluate(IMAGE):
            assert one.specifier.contains(found[one.name]), f"{one}: {found[one.name]} is locked; `make lock`"


def test_the_image_installs_nothing_that_is_not_locked() -> None:
    installs = re.findall(r"pip install (.+?)(?: \\)?$", (seen.ROOT / "Dockerfile").read_text(), re.MULTILINE)
    locked = [f"--no-deps --require-hashes -r deploy/image/{name}.lock" for name in ("model", "worker", "build")]
    assert installs == [*locked, "--no-deps --no-index dist/*.whl"]
