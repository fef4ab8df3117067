"""INFO replies and SCAN replies, as every kind of client and server gives them."""

from __future__ import annotations

from typing import Any

import pytest

from nearhit.errors import StoreUnavailableError
from nearhit.flow.steps import ReplyError
from nearhit.valkey import keyspace, server_info


@pytest.mark.parametrize(
    "reply", [b"# Server\r\nrun_id:ab12\r\nempty:\r\n", "run_id:ab12\n", {"run_id": "ab12"}], ids=type
)
def test_an_info_reply_is_read_from_bytes_text_and_a_mapping(reply: Any) -> None:
    assert server_info.parse(reply) == {"run_id": "ab12"}


def test_an_error_reply_to_info_says_nothing() -> None:
    assert server_info.parse(ReplyError("NOPERM", "NoPermissionError")) == {}


def test_every_loaded_module_is_named_with_its_version() -> None:
    reply = b"module:name=search,ver=10201,api=1\r\nmodule:name=json,ver=10002,api=1\r\n"
    assert server_info.parse(reply) == {"module:search": "10201", "module:json": "10002"}


@pytest.mark.parametrize("mode", ["server_mode", "redis_mode"])
def test_a_cluster_has_no_run_id_of_its_own(mode: str) -> None:
    assert server_info.run_id({mode: "standalone", "run_id": "ab12"}) == "ab12"
    assert server_info.run_id({mode: "cluster", "run_id": "ab12"}) == ""


def test_pages_follow_the_cursor_and_give_a_repeated_key_once() -> None:
    replies = {"0": [b"7", [b"a", b"b", b"a"]], "7": [b"9", [b"b", b"c"]], "9": [b"0", []]}
    found = list(keyspace.pages(lambda command: replies[str(command[1])], "x*"))
    assert found == [[b"a", b"b"], [b"c"], []]


def test_a_refused_scan_is_an_outage_that_names_the_command() -> None:
    with pytest.raises(StoreUnavailableError, match="SCAN: NoPermissionError"):
        list(keyspace.pages(lambda _: ReplyError("no", "NoPermissionError"), "x*"))


def test_a_prefix_matches_itself_alone() -> None:
    assert keyspace.under("a*b?[c]\\:") == "a\\*b\\?\\[c\\]\\\\:*"
