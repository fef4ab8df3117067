"""Where a server is: urls, parts and clients of the caller's, without connecting anywhere."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import redis
import redis.asyncio
from kombu import Connection
from redis.sentinel import Sentinel

from nearhit.errors import ConfigError
from nearhit.valkey.server import Server, server_of
from nearhit.write.broker_url import broker_of


def options(server: Server) -> dict[str, Any]:
    client = server.client()
    assert isinstance(client, redis.Redis)
    return dict(client.connection_pool.connection_kwargs)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Server(), {"host": "127.0.0.1", "port": 6379, "db": 0}),
        (
            Server(host="h", port=1, db=2, username="u", password="p"),
            {"host": "h", "port": 1, "db": 2, "username": "u", "password": "p"},
        ),
        (Server(url="valkey://u:p%40q@h:7/3"), {"host": "h", "port": 7, "db": 3, "username": "u", "password": "p@q"}),
        (Server(url="unix:///run/v.sock?db=2"), {"path": "/run/v.sock", "db": 2}),
        (Server(unix_socket="/run/v.sock", db=2), {"path": "/run/v.sock", "db": 2}),
        (Server(url="valkey://h?protocol=3"), {"host": "h", "protocol": 3}),
        (
            Server(connect_timeout_seconds=0.3, timeout_seconds=0.2),
            {"socket_connect_timeout": 0.3, "socket_timeout": 0.2},
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_client_goes_where_the_server_is(server: Server, expected: dict[str, Any]) -> None:
    found = options(server)
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize("url", ["valkeys://h", "rediss://h"])
def test_a_url_with_an_s_talks_tls(url: str) -> None:
    client = Server(url=url).client()
    assert isinstance(client, redis.Redis)
    assert client.connection_pool.connection_class is redis.SSLConnection
    async_client = Server(url=url).async_client()
    assert isinstance(async_client, redis.asyncio.Redis)
    assert async_client.connection_pool.connection_class is redis.asyncio.SSLConnection


@pytest.mark.parametrize(
    "values",
    [
        *({"url": "http://h"}, {"url": "h:6379"}, {"url": "valkey://h:0"}, {"url": "valkey://h:99999"}),
        *({"url": "valkey://[::1"}, {"url": "valkey://h/x"}, {"url": "valkey://h?socket_timeout=soon"}),
        *({"port": 0}, {"port": 65_536}, {"db": -1}, {"connect_timeout_seconds": 0}, {"timeout_seconds": float("nan")}),
        *({"max_connections": 0}, {"cluster": True, "db": 1}, {"url": "valkey+cluster://h", "unix_socket": "/x"}),
    ],
    ids=str,
)
def test_a_server_that_cannot_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Server(**values)


def test_neither_label_nor_representation_tells_the_password() -> None:
    for server in (Server(url="valkey://u:hunter2@h:7/3"), Server(host="h", password="hunter2")):
        assert "hunter2" not in repr(server) + server.label
    assert Server(url="valkey://u:hunter2@h:7/3").label == "h:7/3"
    assert Server(unix_socket="/run/v.sock").label == "/run/v.sock"


@pytest.mark.parametrize("prefix", ["VALKEY_", "REDIS_"])
def test_the_environment_names_a_server_in_either_spelling(prefix: str) -> None:
    parts = {"HOST": "h", "PORT": "7", "USERNAME": "u", "PASSWORD": "p", "DB": "2", "SSL": "true"}
    found = Server.from_env({prefix + name: value for name, value in parts.items()})
    assert found == Server(host="h", port=7, username="u", password="p", db=2, tls=True)
    with pytest.raises(ConfigError, match=prefix + "PORT must be a whole number, not 'x'"):
        Server.from_env({prefix + "HOST": "h", prefix + "PORT": "x"})


def test_the_broker_url_is_one_that_kombu_knows() -> None:
    assert broker_of("", Server(host="h", port=7, db=2, username="u", password="p@")) == "redis://u:p%40@h:7/2"
    assert broker_of("", Server(unix_socket="/run/v.sock")) == "redis+socket:///run/v.sock"
    assert broker_of("", Server(unix_socket="/v.sock", password="p")) == "redis+socket://:p@/v.sock"
    assert broker_of("", Server(url="valkey+cluster://h")) == ""
    assert broker_of("amqp://h", Server(url="valkey+cluster://h")) == "amqp://h"
    assert broker_of("amqp://a;amqp://b", Server()) == "amqp://a;amqp://b"


def test_a_broker_url_may_be_written_as_that_of_a_server() -> None:
    assert broker_of("valkey://:p@h:7/1", Server()) == "redis://:p@h:7/1"
    assert broker_of("valkeys://h", Server()) == "rediss://h?ssl_cert_reqs=required"
    assert broker_of("unix:///run/v.sock", Server()) == "redis+socket:///run/v.sock"
    with pytest.raises(ConfigError, match="broker_url: a cluster cannot be Celery's broker"):
        broker_of("valkey+cluster://h", Server())


def test_a_broker_s_certificate_is_checked_unless_its_url_says_otherwise() -> None:
    assert broker_of("", Server(host="h", tls=True)) == "rediss://h:6379/0?ssl_cert_reqs=required"
    assert broker_of("rediss://h/1", Server()) == "rediss://h/1?ssl_cert_reqs=required"
    url = broker_of("", Server(url="valkeys://h?ssl_ca_certs=/ca.pem"))
    assert url == "rediss://h?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"
    assert broker_of("rediss://h?ssl_cert_reqs=none", Server()) == "rediss://h?ssl_cert_reqs=none"
    assert Connection(url).ssl == {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": ssl.CERT_REQUIRED}


def test_what_a_client_is_to_its_server_goes_along() -> None:
    class Rotating(redis.CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            return "u", "p"

    rotating = Rotating()
    there = server_of(redis.Redis(host="h", credential_provider=rotating))
    assert options(there)["credential_provider"] is rotating
    assert broker_of("", there) == ""  # a url cannot say so: the workers' timers find the work
    secure: dict[str, Any] = {"ssl_certfile": "/me.pem", "ssl_keyfile": "/me.key", "ssl_ca_certs": "/ca.pem"}
    there = server_of(redis.Redis(host="h", ssl=True, ssl_check_hostname=False, **secure))
    assert {name: options(there)[name] for name in secure} == secure
    assert options(there)["ssl_check_hostname"] is False
    known = Connection(broker_of("", there)).ssl
    assert known == {**secure, "ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": False}
    assert not server_of(redis.Redis(host="h", ssl=True, ssl_cert_reqs=ssl.CERT_NONE)).tls_verify


def test_what_a_cluster_client_is_to_its_cluster_goes_along() -> None:
    client = redis.asyncio.RedisCluster(host="h", ssl=True, ssl_certfile="/me.pem", ssl_keyfile="/me.key")
    there = server_of(client)
    assert there.tls
    assert there.options["ssl_certfile"] == "/me.pem"
    assert isinstance(there.async_client(), redis.asyncio.RedisCluster)


def test_a_client_of_the_callers_says_where_it_goes() -> None:
    client = redis.Redis(host="h", port=7, db=2, username="u", password="p")
    assert server_of(client) == Server(host="h", port=7, db=2, username="u", password="p")
    assert server_of(redis.asyncio.Redis(unix_socket_path="/run/v.sock")).unix_socket == "/run/v.sock"
    secure = server_of(redis.Redis(host="h", ssl=True, ssl_ca_certs="/ca.pem"))
    assert (secure.tls, secure.tls_ca_certs, secure.tls_verify) == (True, "/ca.pem", True)


def test_an_asyncio_cluster_client_says_where_it_goes() -> None:
    client = redis.asyncio.RedisCluster(host="h", port=7, password="p")
    assert server_of(client) == Server(host="h", port=7, password="p", cluster=True)


def test_a_client_that_does_not_say_where_it_goes_is_refused() -> None:
    with pytest.raises(ConfigError, match="log_url"):
        server_of(Sentinel([("h", 26379)]).master_for("main"))
    with pytest.raises(ConfigError, match="log_url"):
        server_of(object())


def test_the_options_of_a_cluster_s_url_reach_its_client() -> None:
    url = "valkeys+cluster://some%40one:p%2Fw@h:7001?ssl_ca_certs=/ca.pem&ssl_cert_reqs=none"
    client = Server(url=url).async_client()
    options = client.connection_kwargs  # type: ignore[union-attr]
    assert (options["username"], options["password"]) == ("some@one", "p/w")
    assert (options["ssl_ca_certs"], options["ssl_cert_reqs"]) == ("/ca.pem", "none")
