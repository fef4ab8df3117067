"""Decisions of a rotation, by what is on the server."""

from __future__ import annotations

import pytest

from nearhit.index.rotation import Step, Wear, decide
from nearhit.index.survey import Generation, Survey
from nearhit.valkey.search_protocol import IndexInfo, Shape

WEAR = Wear(dead_share=0.5, least_dead=100)
VECTOR_BYTES = 64 * 4


def generation(number: int, documents: int = 200, *, vectors: int | None = None, **changes: object) -> Generation:
    values: dict[str, object] = {
        "name": f"g{number}",
        "shape": Shape("p:", 64),
        "documents": documents,
        "vectors": documents if vectors is None else vectors,
        "indexing_failures": 0,
        "backfilling": False,
        "backfill_share": 1.0,
        "capacity": 10_240,
        "queued": 0,
        **changes,
    }
    info = IndexInfo(**values)  # type: ignore[arg-type]  # built by name
    return Generation(number, info, info.backfilling)


def seen(*those: Generation, current: int = 1, dead: int | None = 0, **changes: object) -> Survey:
    values: dict[str, object] = {
        "current": current,
        "generations": {one.number: one for one in those},
        "reclaimable_bytes": None if dead is None else dead * VECTOR_BYTES,
        **changes,
    }
    return Survey(**values)  # type: ignore[arg-type]  # built by name


def test_an_index_as_new_is_left_alone() -> None:
    assert decide(seen(generation(1)), WEAR) == (Step.NONE, 1)


def test_as_many_dead_as_living_vectors_call_for_a_new_generation() -> None:
    assert decide(seen(generation(1), dead=200), WEAR) == (Step.BUILD, 2)
    assert decide(seen(generation(1), dead=199), WEAR) == (Step.NONE, 1)


def test_few_dead_vectors_never_do() -> None:
    assert decide(seen(generation(1, 10), dead=99), WEAR) == (Step.NONE, 1)


def test_the_dead_of_another_index_are_not_counted_beyond_the_places_of_this_one() -> None:
    whole = generation(1, 10_200)
    assert decide(seen(whole, dead=1_000_000), WEAR) == (Step.NONE, 1)


def test_a_server_that_does_not_say_lets_the_growth_of_the_graph_speak() -> None:
    assert decide(seen(generation(1, 5_000, capacity=10_240), dead=None), WEAR) == (Step.NONE, 1)
    assert decide(seen(generation(1, 5_000, capacity=20_480), dead=None), WEAR) == (Step.BUILD, 2)


def test_a_graph_that_refuses_vectors_is_replaced() -> None:
    refusing = generation(1, 200, vectors=190)
    assert decide(seen(refusing, dead=50, add_failures=10), WEAR) == (Step.BUILD, 2)


def test_vectors_that_are_skipped_for_their_size_call_for_no_rotation() -> None:
    skipping = generation(1, 200, vectors=190, indexing_failures=10)
    assert decide(seen(skipping, dead=50, add_failures=3), WEAR) == (Step.NONE, 1)
    assert decide(seen(generation(1, 200, vectors=190, queued=10), dead=50, add_failures=3), WEAR) == (Step.NONE, 1)


def test_a_rotation_waits_out_the_pause_and_a_backfill() -> None:
    assert decide(seen(generation(1), dead=900, pause=True), WEAR) == (Step.NONE, 1)
    assert decide(seen(generation(1, backfilling=True), dead=900), WEAR) == (Step.NONE, 1)


def test_without_room_for_a_second_index_nothing_is_built() -> None:
    needed = 200 * (VECTOR_BYTES + WEAR.link_bytes)
    assert decide(seen(generation(1), dead=900, headroom_bytes=needed - 1), WEAR) == (Step.NO_ROOM, 1)
    assert decide(seen(generation(1), dead=900, headroom_bytes=needed), WEAR) == (Step.BUILD, 2)


def test_readers_move_over_when_the_new_generation_is_whole() -> None:
    assert decide(seen(generation(1), generation(2, 100, backfilling=True)), WEAR) == (Step.WAIT, 2)
    assert decide(seen(generation(1, 5_000), generation(2, 4_000)), WEAR) == (Step.WAIT, 2)
    assert decide(seen(generation(1, 5_000), generation(2, 4_999)), WEAR) == (Step.FLIP, 2)


def test_the_old_generation_goes_after_the_grace() -> None:
    both = (generation(1), generation(2))
    assert decide(seen(*both, current=2, grace=True), WEAR) == (Step.WAIT, 1)
    assert decide(seen(*both, current=2), WEAR) == (Step.DROP, 1)


@pytest.mark.parametrize("numbers", [(1, 3, 4), (2, 3), (3, 4, 5)])
def test_what_a_killed_or_late_worker_left_is_cleaned_up_before_anything_is_built(numbers: tuple[int, ...]) -> None:
    those = [generation(number) for number in numbers]
    step, about = decide(seen(*those, current=3, dead=900), WEAR)
    assert step in {Step.DROP, Step.FLIP}
    assert about != 3


def test_a_lost_index_is_not_the_rotation_s_to_make_again() -> None:
    assert decide(seen(current=4), WEAR) == (Step.NONE, 4)
