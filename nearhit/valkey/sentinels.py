"""Sentinels: what both ways of connecting share that ask them for the primary."""

from __future__ import annotations

import copy
import re
from typing import Any

from redis.sentinel import MasterNotFoundError


def for_one_connect(manager: Any) -> Any:
    """Return redis-py's manager with a list of its own: it swaps places while it asks, and two at once lose one."""
    own = copy.copy(manager)
    own.sentinels = list(manager.sentinels)
    return own


def unnamed(service: str, error: Exception) -> MasterNotFoundError:
    """Return the error of a service for which no sentinel names a primary; redis-py's own has 2 kB of its objects."""
    kinds = sorted(set(re.findall(r" - (\w+)\(", str(error))))
    return MasterNotFoundError(f"no sentinel names a primary for {service!r}{': ' * bool(kinds)}{', '.join(kinds)}")
