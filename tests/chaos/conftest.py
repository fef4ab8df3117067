"""A field of servers and workers for each test that kills something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Two durable servers, no worker yet."""
    with Stack(tmp_path) as one:
        yield one
