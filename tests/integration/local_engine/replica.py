"""Replica: names, vectors and expectations that the tests of the local engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import wait_until

from nearhit.index.local import LocalEngine
from nearhit.valkey.key_names import CacheKeys
from tests.integration.local_server import (
    search,
    vectors,
)

if TYPE_CHECKING:
    pass

KEYS = CacheKeys("qa", "m1")
ROWS = vectors(400)
RECOVERY_SECONDS = 5.0


def finds(engine: LocalEngine, client: Any, number: int, name: str) -> bool:
    found = search(engine, client, ROWS[number], k=1)
    return bool(found) and found[0].key == KEYS.entry("s", name).encode() and found[0].similarity > 0.999


def recovers(engine: LocalEngine, reason: str) -> None:
    wait_until(lambda: engine.stats().bootstraps.get(reason, 0) > 0, RECOVERY_SECONDS, f"a load because of {reason}")
