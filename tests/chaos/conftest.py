"""A field of servers and workers for each test that kills something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.field import Field

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Field]:
    """Two durable servers, no worker yet."""
    with Field(tmp_path) as one:
        yield one
