"""The recorded replies of a real server, byte for byte: every command and every reply shape, under RESP2 and RESP3.

``python -m tests.contract.record`` makes the recordings anew; the live tests here show whether they are still true.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio

from nearhit.errors import NearhitError
from nearhit.flow.async_runner import AsyncRunner
from nearhit.flow.runner import Runner
from nearhit.valkey.async_link import AsyncPoolLink
from nearhit.valkey.link import link_for
from tests.contract.record import PROTOCOLS, client_options, file_of, gate, record
from tests.contract.scenarios import EMBEDDER, SCENARIOS, Scenario
from tests.contract.wire import Listener, Requests, Words, comparable

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit_worker.stack import ValkeyServer


GREETING = frozenset({b"HELLO", b"AUTH", b"CLIENT", b"SELECT"})
"""How a connection introduces itself: as redis-py does, or in one round trip, and once for each connection."""


class Player:
    """Answers as was recorded, and notes every request that was not."""

    def __init__(self, name: str, protocol: int) -> None:
        recorded = [
            (bytes.fromhex(one["request"]), bytes.fromhex(one["reply"]))
            for one in json.loads(file_of(name, protocol).read_text())
        ]
        words = {request: _words(request) for request, _ in recorded}
        self._greeting = {words[request][0]: reply for request, reply in recorded if words[request][0] in GREETING}
        self._said = [(request, reply) for request, reply in recorded if words[request][0] not in GREETING]
        self.differences: list[tuple[Words, Words]] = []
        self.left = len(self._said)

    def converse(self) -> Callable[[Words, bytes], bytes]:
        return self._answer

    def _answer(self, words: Words, raw: bytes) -> bytes:
        if words[0] in GREETING:
            return self._greeting.get(words[0], b"+OK\r\n")
        if not self.left:
            self.differences.append((words, []))
            return b"-ERR nothing more was recorded\r\n"
        request, reply = self._said[-self.left]
        self.left -= 1
        recorded = _words(request)
        if comparable(words) != comparable(recorded):
            self.differences.append((words, recorded))
        return reply


def _words(request: bytes) -> Words:
    ((words, _),) = Requests().feed(request)
    return words


def play(kind: str, scenario: Scenario, protocol: int, port: int) -> Any:
    """Return the outcome of a scenario through our own clients and shell of either kind."""
    options = client_options(scenario, protocol, port)
    try:
        if kind == "sync":
            link = link_for(redis.Redis(**options))
            try:
                return Runner(link, EMBEDDER, gate()).run(scenario.flow(), 30)
            finally:
                link.close()
        return asyncio.run(_play_async(scenario, options))
    except NearhitError as error:
        return type(error)


async def _play_async(scenario: Scenario, options: dict[str, Any]) -> Any:
    link = AsyncPoolLink(lambda: redis.asyncio.Redis(**options))
    try:
        return await AsyncRunner(link, EMBEDDER, gate()).run(scenario.flow(), 30)
    finally:
        await link.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_recorded_server_is_understood_byte_for_byte(kind: str, name: str, protocol: int) -> None:
    player = Player(name, protocol)
    with Listener(player.converse) as server:
        outcome = play(kind, SCENARIOS[name], protocol, server.port)
    assert player.differences == [], "our commands have changed: record anew, with python -m tests.contract.record"
    assert player.left == 0
    assert outcome == SCENARIOS[name].outcome


@pytest.mark.parametrize("size", [1, 7, 1460])
def test_replies_in_pieces_of_any_size_are_the_same_replies(kind: str, size: int) -> None:
    player = Player("a semantic hit", 2)
    with Listener(player.converse, piece=size) as server:
        assert play(kind, SCENARIOS["a semantic hit"], 2, server.port) == SCENARIOS["a semantic hit"].outcome


@pytest.mark.search
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", [name for name, one in SCENARIOS.items() if one.server == "search"])
def test_the_real_server_says_what_was_recorded(name: str, protocol: int, private: ValkeyServer) -> None:
    record(SCENARIOS[name], protocol, private)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with the module that nobody else uses: a recording starts by emptying it."""
    from nearhit_worker.stack import ValkeyServer

    from tests.conftest import MODULE

    if not MODULE:
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    with ValkeyServer(tmp_path_factory.mktemp("private"), module=MODULE) as server:
        yield server
