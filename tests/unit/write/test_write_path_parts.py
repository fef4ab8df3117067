"""Pure parts of the write path: what is claimed together, the spool, requests for a refresh."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nearhit_worker.stack import wait_until

from nearhit.errors import MessageError
from nearhit.flow.steps import Send
from nearhit.valkey.key_names import LogKeys
from nearhit.write.drain import Gathering, least_suspect
from nearhit.write.fill_log import Logged as Row
from nearhit.write.fill_log import Silent, retry_later
from nearhit.write.refresh_queue import decode_request, encode_request
from nearhit.write.spool import Spool, Spooled


@given(st.lists(st.integers(1, 6), min_size=1, max_size=70))
def test_suspects_are_claimed_one_by_one_and_theleast_suspect_first(deliveries: list[int]) -> None:
    left = [Silent(b"%d-0" % number, count) for number, count in enumerate(deliveries)]
    chosen = least_suspect(left)
    assert {one.deliveries for one in chosen} == {min(deliveries)}
    assert len(chosen) == (deliveries.count(1) if 1 in deliveries else 1)


@given(st.binary(max_size=300), st.integers(0, 10**6), st.integers(0, 10**15))
def test_what_waits_for_its_next_try_ends_with_its_whole_message(blob: bytes, tries: int, queued_ms: int) -> None:
    row = Row(b"1-2", blob, 0, queued_ms, owner="me")
    step = next(retry_later(LogKeys("n"), "bulk", [(row, 5, tries)]))
    assert isinstance(step, Send)
    waiting = step.commands[0][-1]
    assert isinstance(waiting, bytes)
    assert waiting.split(b"|", 3) == [b"1-2", b"%d" % tries, b"%d" % queued_ms, blob]


def test_a_batch_of_bulk_fills_is_never_larger_than_one_of_users() -> None:
    gathering = Gathering(max_batch=8, bulk_batch=16)
    assert (gathering.size("interactive"), gathering.size("bulk"), gathering.size("refresh")) == (8, 8, 8)


@given(st.text(max_size=200))
def test_a_request_for_a_refresh_comes_back_as_its_key(key: str) -> None:
    assert decode_request(encode_request(key)) == key


def test_the_bytes_of_a_request_for_a_refresh_stay_what_they_were() -> None:
    assert encode_request("nearhit:a") == b"\x82\xa1v\x01\xa1k\xa9nearhit:a"


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x01", b"\x81\xa1v\x02", b"\x82\xa1v\x01\xa1k\x07"])
def test_what_is_no_request_is_refused(blob: bytes) -> None:
    with pytest.raises(MessageError):
        decode_request(blob)


def test_the_spool_sends_in_order_and_again_what_was_refused() -> None:
    gate = threading.Event()
    got: list[bytes] = []

    def send(fills: list[Spooled]) -> bool:
        if not gate.is_set():
            return False
        got.extend(fill.blob for fill in fills)
        return True

    spool = Spool(send, 200, 10**6)
    fills = [Spooled("bulk", b"%d" % number, 0) for number in range(150)]
    assert {spool.keep(fill) for fill in fills} == {(True, 0)}
    gate.set()
    wait_until(lambda: all(fill.sent for fill in fills), 10, "all are sent")
    assert got == [fill.blob for fill in fills]
    assert spool.close(1.0) == 0


def test_a_fill_larger_than_the_spool_is_dropped_and_costs_no_other() -> None:
    spool = Spool(lambda _: False, 10, 100)
    assert spool.keep(Spooled("bulk", b"x" * 60, 0)) == (True, 0)
    assert spool.keep(Spooled("bulk", b"x" * 101, 0))[0] is False
    assert spool.close(0.1) == 1
