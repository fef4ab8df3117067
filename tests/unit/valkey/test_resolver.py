"""Host names are resolved within a time limit, whatever the name server does."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from nearhit_worker.stack import wait_until

from nearhit.valkey.resolver import Address, Resolver

FOUND: list[Address] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 6379))]


class NameServer:
    """A name server that answers only while it is up."""

    def __init__(self) -> None:
        self.up = threading.Event()
        self.questions = 0
        self.error: Exception | None = None

    def __call__(self, host: str, port: int, family: int, kind: int) -> list[Any]:
        self.questions += 1
        self.up.wait(30)
        if self.error is not None:
            raise self.error
        return FOUND


def find(kind: str, resolver: Resolver, host: str, seconds: float) -> list[Address]:
    if kind == "sync":
        return resolver.find(host, 6379, seconds)
    return asyncio.run(resolver.find_async(host, 6379, seconds))


def test_a_name_server_that_hangs_costs_no_more_than_the_time_given(kind: str) -> None:
    server = NameServer()
    resolver = Resolver(server)
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(TimeoutError, match=r"'cache\.example' was not resolved"):
            find(kind, resolver, "cache.example", 0.05)
        assert time.monotonic() - started < 1
    assert server.questions == 1, "they all wait for the same question"
    server.up.set()
    wait_until(lambda: find(kind, resolver, "cache.example", 5) == FOUND, 5, "the answer")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_search_that_fails_in_an_unknown_way_is_begun_again(kind: str) -> None:
    server = NameServer()
    server.up.set()
    server.error = RuntimeError("who knows")
    resolver = Resolver(server)
    with pytest.raises(OSError, match=r"'cache\.example' ended without an answer"):
        find(kind, resolver, "cache.example", 5)
    server.error = None
    assert find(kind, resolver, "cache.example", 5) == FOUND


def test_the_last_answer_serves_while_the_name_server_is_away(kind: str) -> None:
    server = NameServer()
    server.up.set()
    resolver = Resolver(server)
    assert find(kind, resolver, "cache.example", 5) == FOUND
    server.up.clear()
    assert find(kind, resolver, "cache.example", 30) == FOUND
    server.error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    server.up.set()
    assert find(kind, resolver, "cache.example", 5) == FOUND


def test_a_name_that_nobody_knows_is_an_error(kind: str) -> None:
    server = NameServer()
    server.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    server.up.set()
    with pytest.raises(OSError, match="not known"):
        find(kind, Resolver(server), "nobody.example", 5)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_needs_no_name_server(kind: str, host: str) -> None:
    server = NameServer()
    assert find(kind, Resolver(server), host, 1)[0][4][:2] == (host, 6379)
    assert not server.questions


def test_many_threads_ask_one_question() -> None:
    server = NameServer()
    resolver = Resolver(server)
    with ThreadPoolExecutor(16, "asking") as pool:
        found = [pool.submit(resolver.find, "cache.example", 6379, 10.0) for _ in range(16)]
        wait_until(lambda: _waiting("asking") == 16, 5, "all threads to wait for the answer")
        server.up.set()
        assert all(one.result() == FOUND for one in found)
    assert server.questions == 1


def _waiting(prefix: str) -> int:
    """Return how many threads of a pool wait for a future's result."""
    frames = sys._current_frames()  # noqa: SLF001 - public for such uses, by its documentation
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return sum(
        frame.f_code is threading.Condition.wait.__code__
        and frame.f_back is not None
        and frame.f_back.f_code is Future.result.__code__
        for ident, frame in frames.items()
        if names.get(ident, "").startswith(prefix)
    )
