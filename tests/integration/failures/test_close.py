"""Closing ends within a second, whatever the servers do."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from nearhit_worker.stack import wait_until

from nearhit import FillOutcome
from tests.support.failures import pid_of, stocked, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer

    from nearhit import Settings
    from tests.support.faces import Face

CLOSE_SECONDS = 1.0
SLACK_SECONDS = 0.3


@pytest.mark.parametrize("hangs", [False, True], ids=["healthy", "hung"])
def test_a_cache_is_closed_within_a_second(
    kind: str,
    own_face: Callable[..., Face],
    own_settings: Callable[..., Settings],
    own_server: ValkeyServer,
    hangs: bool,
) -> None:
    cache = own_face(fresh_seconds=0.01, verify_share=1.0)
    stocked(cache, own_settings(fresh_seconds=0.01))
    first = "the first fill, whose wake-up goes to the broker there, is accepted"
    wait_until(lambda: cache.fill("a first one?", "x") is FillOutcome.ACCEPTED, 10, first)
    wait_until(lambda: bool(cache.lookup("what is it")), 10, "hits that are verified, or refreshed")

    def create() -> str:
        if hangs:
            os.kill(pid_of(own_server), signal.SIGSTOP)
        return "an answer that cannot be told to the others"

    async def create_async() -> str:
        return create()

    cache.run(cache.cache.get_or_create("who leads this flight?", create if kind == "sync" else create_async))
    if hangs:
        assert cache.fill("and this?", "spooled") is FillOutcome.SPOOLED
    _, seconds = timed(cache.close_cache)
    assert seconds < CLOSE_SECONDS + SLACK_SECONDS
