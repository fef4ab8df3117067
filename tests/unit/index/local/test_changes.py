from __future__ import annotations

import pytest

from nearhit.errors import StoreUnavailableError
from nearhit.index.local import changes
from nearhit.valkey.key_names import CacheKeys

KEYS = CacheKeys("qa", "m1")
ENTRIES = [[b"5-0", [b"init", b"1"]], [b"6-0", [b"k", b"x"]], [b"6-1", [b"k", b"y"]], [b"7-0", [b"k", b"x"]]]


def test_a_change_makes_no_stream_and_bounds_the_one_there_is() -> None:
    assert changes.changed(KEYS, "e1") == (
        "XADD",
        "nearhit:qa:m1:changes",
        "NOMKSTREAM",
        "MAXLEN",
        "~",
        50_000,
        "*",
        b"k",
        "e1",
    )


@pytest.mark.parametrize("reply", [[[b"changes", ENTRIES]], {b"changes": ENTRIES}], ids=["resp2", "resp3"])
def test_changes_are_read_from_the_reply_of_both_protocols(reply: object) -> None:
    assert changes.parse_changes(reply) == changes.Changes(last_id=b"7-0", count=4, keys=[b"x", b"y"])


@pytest.mark.parametrize("reply", [None, [], {}, {b"changes": []}])
def test_no_news_is_none(reply: object) -> None:
    assert changes.parse_changes(reply) is None


@pytest.mark.parametrize("shape", [list, dict])
def test_the_state_is_read_from_the_reply_of_both_protocols(shape: type) -> None:
    pairs = {b"length": 2, b"last-generated-id": b"9-1", b"entries-added": 12}
    reply = pairs if shape is dict else [word for pair in pairs.items() for word in pair]
    assert changes.parse_state(reply) == changes.StreamState(last_id=b"9-1", added=12)


def test_a_server_that_counts_no_additions_is_named_too_old() -> None:
    with pytest.raises(StoreUnavailableError, match=r"entries-added.*7\.2"):
        changes.parse_state([b"length", 1, b"last-generated-id", b"1-0"])


def test_stream_ids_are_ordered_as_numbers() -> None:
    assert changes.id_order(b"10-2") > changes.id_order(b"9-11")
    assert changes.id_order(b"9-11") > changes.id_order(b"9-2")
