"""The short form of the matrix: in every cell a few processes are killed and stopped, and every fill is accounted for.

``make chaos`` runs the long form and writes its table into docs/write-path.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.cells import CELLS
from tests.chaos.matrix import run_cell
from tests.conftest import MODULE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.cells import Cell

EVENTS = 3
"""Of each cell; the first one is a killed log server."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_fill_is_accounted_for_whatever_is_killed_or_stopped(cell: Cell, tmp_path: Path) -> None:
    missing = cell.missing(MODULE)
    if missing:
        pytest.skip(missing)
    result = run_cell(cell, tmp_path, EVENTS, module=MODULE, of_each=1)
    assert result.events == EVENTS
    assert result.accepted > 0
    assert result.lost == result.held_back, result
    assert result.lost_spooled == result.twice == result.dead == result.other == result.not_found == 0, result
    assert result.flushed, result
