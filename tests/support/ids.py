"""Ids: names of a test's parameters that are the same in every process."""

from __future__ import annotations

import re


def stable(value: object) -> str:
    """Return the start of a value's text, without the addresses of objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))[:60]
