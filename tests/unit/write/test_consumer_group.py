from __future__ import annotations

from typing import Any

import pytest

from nearhit.flow.steps import ReplyError
from nearhit.valkey.key_names import LogKeys
from nearhit.write.consumer_group import waiting

REFUSED = ReplyError("no permissions", "NoPermissionError")
OURS = {b"name": b"nearhit", b"last-delivered-id": b"5-0"}
OTHERS = {b"name": b"another", b"last-delivered-id": b"9-0"}


def answer(*replies: Any) -> bytes | None:
    flow = waiting(LogKeys("qa"), "interactive")
    next(flow)
    with pytest.raises(StopIteration) as ended:
        flow.send(list(replies))
    found: bytes | None = ended.value.value
    return found


def test_the_group_of_another_program_is_not_taken_for_ours() -> None:
    assert answer([OTHERS, OURS], 3, [1]) == b"5-0"
    assert answer([OTHERS], 3, [1]) is None


@pytest.mark.parametrize("replies", [(REFUSED, 3, [1]), ([OURS], REFUSED, [1])])
def test_a_server_that_does_not_say_shows_nothing_waiting(replies: tuple[Any, ...]) -> None:
    assert answer(*replies) is None


def test_fills_wait_where_the_server_does_not_say_what_workers_have() -> None:
    assert answer([OURS], 3, REFUSED) == b"5-0"
    assert answer([OURS], 3, [3]) is None
