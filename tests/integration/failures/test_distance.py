"""A server far away, behind a network that loses packets: the cache comes to hits and goes on to hit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from nearhit import MissReason
from tests.support.delay import Delay
from tests.support.faces import Face
from tests.support.failures import reason
from tests.support.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit import Settings

ASKED = 60
RESENT_SECONDS = 0.3
"""How long a lost packet takes to be sent again, at least: Linux waits 200 ms beside the round trip."""


def losing(share: float) -> Callable[[bytes], list[tuple[bytes, float]]]:
    """Return a way that loses this share of what the server says."""
    draw = random.Random(7)

    def shape(data: bytes) -> list[tuple[bytes, float]]:
        return [(data, RESENT_SECONDS if draw.random() < share else 0.0)]

    return shape


@pytest.mark.parametrize("losses", [0.0, 0.03], ids=["no losses", "3 % lost"])
@pytest.mark.parametrize("milliseconds", [1, 20, 60, 100])
def test_a_distant_cache_comes_to_hits_and_goes_on_to_hit(
    kind: str, own_server: ValkeyServer, own_settings: Callable[..., Settings], milliseconds: int, losses: float
) -> None:
    store = Store(own_settings())
    store.add("What is it?", "a thing")
    store.close()
    with Delay(own_server.port, milliseconds / 1000, losing(losses)) as distant:
        made = own_settings(url=f"valkey://127.0.0.1:{distant.port}", deadline_ms=250)
        with Face(kind, made) as cache:
            wait_until(lambda: bool(cache.lookup("What is it?")), 15, "the first hit, without a warm-up")
            outcomes = [cache.lookup("What is it?") for _ in range(ASKED)]
    misses = [reason(one) for one in outcomes if not one]
    assert len(misses) <= (0 if losses == 0 else ASKED * 0.15), misses
    assert set(misses) <= {MissReason.UNAVAILABLE, MissReason.BUSY}
