"""Everything is killed at random moments; every accepted fill must be searchable, once, with its newest answer."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from nearhit import FillOutcome
from tests.chaos.field import Filler, check, children_of, end, found_by_lookup

if TYPE_CHECKING:
    from tests.chaos.field import Field

FILLS = int(os.environ.get("NEARHIT_CHAOS_FILLS", "1500"))
"""1,500 where it must be quick; `make chaos` takes 10,000."""

SEED = int(os.environ.get("NEARHIT_CHAOS_SEED", "4"))

pytestmark = pytest.mark.chaos


def kill_worker(ground: Field, dice: random.Random) -> None:
    worker = dice.choice(ground.workers)
    for pid in children_of(worker):
        end(pid)
    worker.kill()
    worker.spawn()


def kill_pool_child(ground: Field, dice: random.Random) -> None:
    children = [pid for worker in ground.workers for pid in children_of(worker)]
    if children:
        end(dice.choice(children))


def kill_log_server(ground: Field, dice: random.Random) -> None:
    ground.log_server.kill()
    time.sleep(dice.uniform(0, 0.5))
    ground.log_server.start()


def kill_cache_server(ground: Field, dice: random.Random) -> None:
    ground.cache_server.kill()
    time.sleep(dice.uniform(0, 0.5))
    ground.cache_server.start()


KILLS = (kill_worker, kill_worker, kill_pool_child, kill_log_server, kill_cache_server)


@pytest.mark.timeout(60 + FILLS / 20)
def test_every_accepted_fill_is_searchable_once_after_kills_of_everything(ground: Field) -> None:
    ground.add_worker()
    ground.add_worker("--pool", "prefork")
    dice = random.Random(SEED)
    with ground.client() as cache:
        assert cache.warm_up()
        filler = Filler(cache, FILLS, per_second=150).start()
        kills = 0
        while filler.done < FILLS:
            KILLS[kills % len(KILLS)](ground, dice)
            kills += 1
            time.sleep(dice.uniform(0.2, 1.5))
        filler.join(30)
        ground.wait_until_stored(60)
        counts = check(ground, filler)
        assert counts["missing"] == counts["older answer"] == counts["twice"] == counts["dead letters"] == 0, counts
        assert counts["entries"] == counts["distinct"], counts
        assert found_by_lookup(cache, filler) == counts["distinct"]
        assert set(filler.outcomes) <= {FillOutcome.ACCEPTED, FillOutcome.SPOOLED}, filler.outcomes
        assert kills >= 5
