"""A url that cannot be read is refused by its part, and no message or exception holds a password."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nearhit import ConfigError, Server, Settings
from nearhit.valkey.server_url import broker_problem, url_problem
from nearhit.write.broker_url import broker_of

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2secret"
MARK = SECRET[3:-3]

WRONG = [
    f"redis://:{SECRET}/{SECRET}@host:6379/0",
    f"redis://:{SECRET}#{SECRET}@host:6379/0",
    f"redis://:{SECRET}?{SECRET}@host:6379/0",
    f"redis://user:12/{SECRET}@host/0",
    f"redis://user:12?{SECRET}@host/0",
    f"redis://user:12#{SECRET}@host/0",
    f"redis://:{SECRET}[{SECRET}@host/0",
    f"redis://:{SECRET}\u2100{SECRET}@host/0",
    f"redis:{SECRET}@host",
    f"redis:{SECRET}@host:6379/0",
    f"redis/:{SECRET}@host",
    f"{SECRET}@host:6379",
    f":{SECRET}@host",
    f"redis://host/0/{SECRET}",
    f"redis://host/{SECRET}",
    f"redis://host:{SECRET}/0",
    f"redis://host/0#{SECRET}",
    f"unix://:{SECRET}/{SECRET}@/run/valkey.sock",
]


def told(call: Callable[[], object]) -> str:
    """Return all that an error shows: message, representation, traceback, and whatever hangs on it."""
    with pytest.raises(ConfigError) as caught:
        call()
    shown, error = [], caught.value
    following: BaseException | None = error
    while following is not None:
        shown += [str(following), repr(following), repr(following.args)]
        following = following.__cause__ or following.__context__
    return "\n".join([*shown, *traceback.format_exception(error)])


@pytest.mark.parametrize("url", WRONG)
def test_a_url_that_cannot_be_read_tells_no_password(url: str) -> None:
    assert MARK not in told(lambda: Server(url=url))
    for name in ("url", "log_url"):
        changes: dict[str, Any] = {name: url}
        text = told(lambda changes=changes: Settings(threshold=0.9, **changes))  # type: ignore[misc]
        assert MARK not in text
        assert name in text
    for environ in ({"VALKEY_URL": url}, {"REDIS_URL": url}):
        assert MARK not in told(lambda environ=environ: Server.from_env(environ))  # type: ignore[misc]


@pytest.mark.parametrize("url", [*WRONG[:11], f"amqp://me:{SECRET}/x@host//", f"amqp://h;amqp://me:{SECRET}#x@host//"])
def test_a_broker_url_that_cannot_be_read_tells_no_password(url: str) -> None:
    assert MARK not in told(lambda: Settings(threshold=0.9, broker_url=url))
    assert MARK not in told(lambda: broker_of(url, Server()))


def test_the_message_names_the_part_and_the_way_out() -> None:
    assert "percent-encoded" in url_problem("redis://:a/b@host")
    assert "port" in url_problem("redis://:a/b@host")
    assert "database" in url_problem("redis://host/a")
    assert "'://'" in url_problem("redis:a@host")


@pytest.mark.parametrize(
    "url",
    [
        *("memory://", "amqp://guest:guest@h:5672//", "amqp://a;amqp://b", "sentinel://h:1;sentinel://h:2", ""),
        *(
            "redis+socket:///run/v@1.sock",
            "sqla+sqlite:////tmp/a@b.db",
            "sqs://key:a%2Fb@",
            "redis",
        ),
    ],
)
def test_brokers_of_all_kinds_are_left_alone(url: str) -> None:
    assert broker_problem(url) == ""


@given(st.text(min_size=1, max_size=12))
@example("a/b#c?d@e[f:g")
def test_a_percent_encoded_password_is_read_whatever_it_is(password: str) -> None:
    try:
        encoded = quote(password, safe="")
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return
    for scheme in ("valkey", "valkey+cluster"):
        server = Server(url=f"{scheme}://me:{encoded}@host:7000")
        assert server.label == "host:7000"
        if scheme == "valkey":
            options = server.single_client().connection_pool.connection_kwargs
            assert options["password"] == password
        else:
            assert server._target()["password"] == password  # noqa: SLF001 - its client would connect at once
