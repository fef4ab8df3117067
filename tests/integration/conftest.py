"""Leaves nothing behind: every test here is checked for keys that live for ever."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_immortal_keys(no_immortal_keys: None) -> None:
    """Hold every test of this storey to it."""
