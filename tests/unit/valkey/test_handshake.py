"""What a new connection says first, and what it makes of the answers."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.exceptions import AuthenticationError

from nearhit.flow.steps import ReplyError
from nearhit.valkey.handshake import Handshake, handshake_of

WHOLE = Handshake(credentials=("ann", "secret"), db=2, client_name="app", library="redis-py", library_version="8.1")
HELLO_IS_UNKNOWN = ReplyError("unknown command 'HELLO', with args beginning with: '3'")
NOT_YET = ReplyError("Authentication required.", "AuthenticationError")


def test_all_is_said_at_once() -> None:
    assert WHOLE.commands() == [
        ("HELLO", 3, "AUTH", "ann", "secret"),
        ("CLIENT", "SETNAME", "app"),
        ("CLIENT", "SETINFO", "LIB-NAME", "redis-py"),
        ("CLIENT", "SETINFO", "LIB-VER", "8.1"),
        ("SELECT", 2),
    ]
    assert WHOLE.after([{}, b"OK", b"OK", b"OK", b"OK"]) is None


def test_a_password_alone_is_the_default_users() -> None:
    assert Handshake(credentials=("secret",)).commands() == [("HELLO", 3, "AUTH", "default", "secret")]
    assert Handshake(credentials=("secret",), protocol=2).commands() == [("AUTH", "secret")]


@pytest.mark.parametrize(
    "refusal",
    [
        HELLO_IS_UNKNOWN,
        ReplyError("NOPROTO unsupported protocol version"),
        ReplyError("this user has no permissions to run the 'hello' command", "NoPermissionError"),
    ],
    ids=["unknown", "version", "forbidden"],
)
def test_a_server_that_refuses_hello_is_talked_to_in_resp2(refusal: ReplyError) -> None:
    then = WHOLE.after([refusal, NOT_YET, NOT_YET, NOT_YET, NOT_YET])
    assert then is not None
    assert then.commands() == [("AUTH", "ann", "secret"), *WHOLE.commands()[1:]]
    assert then.after([b"OK"] * 5) is None


def test_a_server_without_users_takes_the_password_alone() -> None:
    text = "wrong number of arguments for 'auth' command"
    then = Handshake(protocol=2, credentials=("ann", "secret")).after(
        [ReplyError(text, "AuthenticationWrongNumberOfArgsError")]
    )
    assert then is not None
    assert then.commands() == [("AUTH", "secret")]


def test_a_refused_name_or_library_is_borne() -> None:
    refused = ReplyError("unknown subcommand 'SETINFO'. Try CLIENT HELP.")
    assert WHOLE.after([{}, refused, refused, refused, b"OK"]) is None


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        (
            [ReplyError("invalid username-password pair", "AuthenticationError")],
            AuthenticationError,
        ),
        ([ReplyError("max number of clients reached", "ConnectionError")], redis.ConnectionError),
        ([ReplyError("Valkey is loading the dataset in memory", "BusyLoadingError")], redis.ConnectionError),
    ],
    ids=["password", "clients", "loading"],
)
def test_a_refused_connection_names_its_reason(replies: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=replies[0].text):
        Handshake(credentials=("ann", "secret")).after(replies)


def test_a_refused_database_is_an_error() -> None:
    with pytest.raises(redis.ResponseError, match="DB index is out of range"):
        Handshake(db=99).after([{}, ReplyError("DB index is out of range")])


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(WHOLE)


def test_a_connection_of_a_client_says_the_same_as_redis_py_would() -> None:
    client = redis.Redis(username="ann", password="secret", db=2, client_name="app", protocol=3)
    connection = client.connection_pool.make_connection()
    said = handshake_of(connection)
    assert said.commands()[0] == ("HELLO", 3, "AUTH", "ann", "secret")
    assert said.commands()[-1] == ("SELECT", 2)
    assert said.library == "redis-py"
    assert said.library_version == redis.__version__
    assert handshake_of(connection, ("bob", "new")).credentials == ("bob", "new")
