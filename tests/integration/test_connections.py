"""A link's connections are made in the background, belong to no caller's deadline, and are never lost."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from nearhit_worker.stack import free_port, wait_until

from nearhit import BusyError, StoreUnavailableError
from nearhit.valkey.connection_pool import ConnectionPool
from nearhit.valkey.connector import Connector
from nearhit.valkey.link import PoolLink, link_to
from nearhit.valkey.open_connection import OpenConnection
from nearhit.valkey.packed_command import pack
from nearhit.valkey.resolver import Resolver
from nearhit.valkey.server import Server
from tests.support.delay import Delay
from tests.support.failures import frozen, timed

if TYPE_CHECKING:
    from nearhit_worker.stack import ValkeyServer

    from nearhit.flow.ports import Link

PING = (("PING",),)
ID = (("CLIENT", "ID"),)
DEADLINE = 0.25
MARGIN = 1.0


def outcome(link: Link, seconds: float = DEADLINE, commands: Any = PING) -> Any:
    """Return the first reply, or the error."""
    try:
        return link.send(commands, seconds)[0]
    except StoreUnavailableError as error:
        return error


def server_at(port: int, **options: Any) -> Server:
    return Server(url=f"valkey://127.0.0.1:{port}", **options)


@pytest.mark.parametrize("milliseconds", [1, 20, 60, 100])
def test_a_distant_server_is_reached_whatever_the_deadline(plain_server: ValkeyServer, milliseconds: int) -> None:
    with Delay(plain_server.port, milliseconds / 1000) as distant:
        link = link_to(server_at(distant.port))
        first = outcome(link)
        assert first == b"PONG" or isinstance(first, BusyError)
        wait_until(lambda: outcome(link) == b"PONG", 5, "the connection serves a later caller")
        assert [outcome(link) for _ in range(10)] == [b"PONG"] * 10
        link.close()


def test_a_connect_goes_on_after_its_callers_deadline_and_serves_the_next_one(plain_server: ValkeyServer) -> None:
    with Delay(plain_server.port, 0.4) as distant:
        link = link_to(server_at(distant.port))
        assert isinstance(outcome(link, 0.05), BusyError)
        with plain_server.client() as client:
            wait_until(lambda: len(client.client_list()) > 1, 5, "the connect reaches the server")
        distant.round_trip_seconds = 0.0
        wait_until(lambda: outcome(link, 0.05) == b"PONG", 5, "the same connection is there")
        link.close()


def test_a_connection_lost_on_a_distant_way_is_replaced_in_the_background(plain_server: ValkeyServer) -> None:
    with Delay(plain_server.port, 0.1) as distant:
        link = link_to(server_at(distant.port))
        wait_until(lambda: outcome(link) == b"PONG", 5, "the first connection")
        for _ in range(3):
            assert isinstance(outcome(link, commands=(("BLPOP", "nothing:here", 0.4),)), StoreUnavailableError)
            found = [outcome(link) for _ in range(4)]
            assert found[1:] == [b"PONG"] * 3, found
        link.close()


def test_the_handshake_takes_one_round_trip(plain_server: ValkeyServer) -> None:
    with Delay(plain_server.port, 0.3) as distant:
        with plain_server.client() as client:
            client.execute_command("ACL", "SETUSER", "ann", "on", ">secret", "~*", "+@all")
        link = PoolLink(
            redis.Redis(port=distant.port, username="ann", password="secret", db=3, client_name="far", protocol=3)
        )
        reply, seconds = timed(lambda: link.send((("CLIENT", "INFO"),), 5)[0])
        said = dict(part.partition("=")[::2] for part in reply.decode().split())
        assert (said["user"], said["db"], said["name"], said["resp"]) == ("ann", "3", "far", "3")
        assert said["lib-name"] == "redis-py"
        assert seconds < 0.6 + 0.25, "one round trip for the handshake, one for the command"
        link.close()


@pytest.mark.parametrize("rules", [("-hello",), ("-client",), ("-hello", "-client")], ids=" ".join)
def test_a_server_that_forbids_parts_of_the_handshake_is_still_used(
    plain_server: ValkeyServer, rules: tuple[str, ...]
) -> None:
    with plain_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "+@all", *rules)
        client.execute_command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", *rules)
        try:
            for user, password in (("", ""), ("bob", "pw")):
                link = link_to(Server(port=plain_server.port, db=2, username=user, password=password))
                said = link.send((("ACL", "WHOAMI"), ("ECHO", "x")), 5)
                assert said == [(user or "default").encode(), b"x"]
                link.close()
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


def test_a_wrong_password_is_said_and_never_shown(plain_server: ValkeyServer) -> None:
    link = link_to(Server(port=plain_server.port, username="nobody", password="s3cret"))
    failed = outcome(link, 5)
    assert isinstance(failed, StoreUnavailableError)
    assert not isinstance(failed, BusyError)
    assert "AuthenticationError" in str(failed)
    assert "s3cret" not in repr(failed)
    link.close()


def test_a_deadline_that_was_spent_waiting_for_a_connection_is_not_held_against_the_server(
    plain_server: ValkeyServer,
) -> None:
    link = link_to(server_at(plain_server.port, max_connections=1))
    assert outcome(link, 5) == b"PONG"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(outcome, link, 5, (("BLPOP", "nothing:here", 0.4),))
        with plain_server.client() as client:
            wait_until(lambda: b"cmd=blpop" in client.execute_command("CLIENT", "LIST"), 5, "the connection is in use")
        waited = outcome(link, 0.5, (("BLPOP", "nothing:here", 5),))
        assert first.result(5) is None
    assert isinstance(waited, BusyError)
    at_once = outcome(link, 0.2, (("BLPOP", "nothing:here", 5),))
    assert isinstance(at_once, StoreUnavailableError)
    assert not isinstance(at_once, BusyError)
    link.close()


def test_a_deadline_that_went_by_while_the_server_answered_others_is_not_held_against_it(
    plain_server: ValkeyServer,
) -> None:
    link = link_to(server_at(plain_server.port, max_connections=2))
    done = threading.Event()

    def keep_asking() -> set[Any]:
        said = set()
        while not done.is_set():
            said.add(outcome(link, 5))
        return said

    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(keep_asking)
        late = outcome(link, 0.5, (("BLPOP", "nothing:here", 5),))
        done.set()
        assert others.result(5) == {b"PONG"}
    assert isinstance(late, BusyError)
    link.close()


def test_a_reply_that_came_in_time_is_taken_by_a_thread_that_comes_late(plain_server: ValkeyServer) -> None:
    connection = OpenConnection(socket.create_connection(("127.0.0.1", plain_server.port)))
    deadline = time.monotonic() + 0.05
    connection.send(pack(PING), deadline)
    wait_until(lambda: not connection.is_quiet() and time.monotonic() > deadline, 5, "the reply is there, and too late")
    assert connection.read(1, deadline) == [b"PONG"]
    connection.send(pack((("BLPOP", "nothing:here", 5),)), time.monotonic() + 1)
    with pytest.raises(TimeoutError):
        connection.read(1, deadline)
    connection.close()


def test_a_name_server_that_hangs_holds_no_caller(plain_server: ValkeyServer) -> None:
    answering = threading.Event()

    def look_up(host: str, port: int, *_: Any) -> list[Any]:
        answering.wait(30)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    link = PoolLink(redis.Redis(host="cache.example", port=plain_server.port), resolver=Resolver(look_up))
    for _ in range(3):
        failed, seconds = timed(lambda: outcome(link, 0.1))
        assert isinstance(failed, StoreUnavailableError)
        assert seconds < 0.1 + MARGIN
    answering.set()
    wait_until(lambda: outcome(link) == b"PONG", 5, "it is connected once the name is known")
    link.close()


def test_a_server_that_refuses_connections_is_named_at_once() -> None:
    link = link_to(server_at(free_port()))
    for _ in range(3):
        failed, seconds = timed(lambda: outcome(link, 10))
        assert isinstance(failed, StoreUnavailableError)
        assert not isinstance(failed, BusyError)
        assert "Connection refused" in str(failed)
        assert seconds < 2
    link.close()


def test_a_server_that_accepts_and_says_nothing_is_a_failure_after_the_connect_timeout(
    plain_server: ValkeyServer,
) -> None:
    link = link_to(server_at(plain_server.port, connect_timeout_seconds=0.3))
    with frozen(plain_server):
        assert isinstance(outcome(link, 0.1), BusyError)
        wait_until(lambda: not isinstance(outcome(link, 0.1), BusyError), 5, "the connect has failed")
        failed, seconds = timed(lambda: outcome(link, 0.1))
        assert isinstance(failed, StoreUnavailableError)
        assert seconds < 0.1 + MARGIN
    wait_until(lambda: outcome(link) == b"PONG", 5, "it answers again")
    link.close()


def test_callers_wait_for_one_of_few_connections(plain_server: ValkeyServer) -> None:
    link = link_to(server_at(plain_server.port, max_connections=4))
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda number: outcome(link, 20, ID), range(2_000)))
    assert all(isinstance(one, int) for one in found), [one for one in found if not isinstance(one, int)][:3]
    assert len(set(found)) <= 4
    link.close()


def test_no_free_connection_within_the_deadline_is_no_failure_of_the_server(plain_server: ValkeyServer) -> None:
    link = link_to(server_at(plain_server.port, max_connections=2))
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(link.send, (("BLPOP", "nothing:here", 1),), 5.0) for _ in range(2)]
        with plain_server.client() as client:
            wait_until(lambda: client.info("clients")["blocked_clients"] == 2, 5, "both connections are in use")
        failed, seconds = timed(lambda: outcome(link, 0.1))
        assert isinstance(failed, BusyError)
        assert "2 of 2 are in use" in str(failed)
        assert seconds < 0.1 + MARGIN
        assert [one.result() for one in busy] == [[None], [None]]
    assert outcome(link) == b"PONG"
    link.close()


def test_a_closed_link_refuses_and_ends_what_still_waits(plain_server: ValkeyServer) -> None:
    link = link_to(server_at(plain_server.port))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(outcome, link, 20, (("BLPOP", "nothing:here", 20),))
        with plain_server.client() as client:
            wait_until(lambda: client.info("clients")["blocked_clients"] == 1, 5, "it waits")
            _, seconds = timed(link.close)
            assert isinstance(waiting.result(5), StoreUnavailableError)
    assert seconds < 1
    assert "closed" in str(outcome(link))


DRIBBLE = 65_536


@pytest.mark.parametrize(("piece", "pause"), [(1, 0.02), (DRIBBLE, 0.06)], ids=["byte by byte", "1 MB a second"])
def test_a_reply_that_dribbles_ends_with_the_deadline(plain_server: ValkeyServer, piece: int, pause: float) -> None:
    slow = threading.Event()

    def shape(data: bytes) -> list[tuple[bytes, float]]:
        if not slow.is_set():
            return [(data, 0.0)]
        return [(data[at : at + piece], pause) for at in range(0, len(data), piece)]

    with plain_server.client() as client, Delay(plain_server.port, 0.0, shape) as distant:
        client.set("large", b"x" * 1_500_000, ex=60)
        link = link_to(server_at(distant.port))
        assert outcome(link, 5) == b"PONG"
        slow.set()
        failed, seconds = timed(lambda: outcome(link, 0.25, (("GET", "large"),)))
        assert isinstance(failed, StoreUnavailableError)
        assert seconds < 0.35
        slow.clear()
        wait_until(lambda: outcome(link) == b"PONG", 5, "nobody meets the rest of that reply")
        link.close()


def test_a_reply_that_announces_too_much_fails_at_once(plain_server: ValkeyServer) -> None:
    def shape(data: bytes) -> list[tuple[bytes, float]]:
        return [(data.replace(b"+PONG\r\n", b"*1000000000\r\n"), 0.0)]

    with Delay(plain_server.port, 0.0, shape) as distant:
        link = link_to(server_at(distant.port))
        failed, seconds = timed(lambda: outcome(link, 5))
        assert isinstance(failed, StoreUnavailableError)
        assert "announces 1000000000 elements" in str(failed)
        assert seconds < 2
        assert outcome(link, 5, (("ECHO", "x"),)) == b"x"
        link.close()


INTERRUPTED = """
import signal, sys, threading, time
from nearhit.valkey.server import Server
from nearhit.errors import StoreUnavailableError
from nearhit.valkey.link import link_to

class Interrupt(Exception):
    pass

def interrupt(*_):
    raise Interrupt

link = link_to(Server(url=sys.argv[1], max_connections=4))
link.send((("PING",),), 5)
signal.signal(signal.SIGALRM, interrupt)
interrupted = answered = wrong = at = 0
end = time.monotonic() + 60
while interrupted < int(sys.argv[2]) and time.monotonic() < end:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.00001 + 0.000013 * (at % 29))
        while True:
            at += 1
            try:
                reply = link.send((("ECHO", str(at)),), 1.0)[0]
            except StoreUnavailableError:
                continue
            answered += 1
            wrong += reply != str(at).encode()
    except Interrupt:
        interrupted += 1
signal.setitimer(signal.ITIMER_REAL, 0)
started = time.monotonic()
done = []

def ask(number):
    for at in range(20):
        text = f"{number}:{at}"
        done.append(link.send((("ECHO", text),), 10.0)[0] == text.encode())

threads = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
print(interrupted, wrong, len(done), all(done), threading.active_count(), flush=True)
"""


def test_interrupts_anywhere_lose_no_connection_and_exchange_no_answer(plain_server: ValkeyServer) -> None:
    command = [sys.executable, "-c", INTERRUPTED, plain_server.url, "20000"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    interrupted, wrong, answers, right, threads = ran.stdout.split()
    assert int(interrupted) >= 5_000
    assert (wrong, answers, right) == ("0", "80", "True")
    assert int(threads) < 20


def test_who_waits_gets_a_new_connection_once_one_to_a_former_primary_comes_back(plain_server: ValkeyServer) -> None:
    pool = ConnectionPool(Connector(Server(url=plain_server.url).single_client().connection_pool), 1)

    def served() -> bool:
        used = pool.take(time.monotonic() + 5)
        used.address = ("a former primary", 6379)
        back = threading.Timer(0.01, pool.keep, (used,))
        back.start()
        try:
            pool.keep(pool.take(time.monotonic() + 0.045))  # who waits looks again by itself after 0.05 s
        except BusyError:
            return False
        finally:
            back.join()
        return True

    try:
        assert any(served() for _ in range(10))
    finally:
        pool.close()
