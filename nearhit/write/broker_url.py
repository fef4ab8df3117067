"""Broker url: the kombu url under which Celery reaches a Valkey server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from nearhit.errors import ConfigError
from nearhit.valkey.server_url import SENTINEL, broker_problem, read_watched

if TYPE_CHECKING:
    from nearhit.valkey.server import Server

_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "unix": "redis+socket"}
"""What kombu calls the schemes of a server's url; others are its own, such as ``amqp``."""


_SENTINEL_SECONDS = 2.0


class BrokerUrl(str):
    """A kombu url with what kombu takes beside it.

    Attributes:
        options: further transport options.
    """

    __slots__ = ("options",)
    options: dict[str, Any]

    def __new__(cls, url: str, **options: Any) -> BrokerUrl:
        """Return the url with its options."""
        made = super().__new__(cls, url)
        made.options = options
        return made


def options_of(url: str) -> dict[str, Any]:
    """Return the transport options that go with a url."""
    return url.options if isinstance(url, BrokerUrl) else {}


def broker_of(url: str, log_server: Server) -> BrokerUrl:
    """Return the kombu url of the broker; empty where there is none.

    Args:
        url: what is set; empty takes the log's server.
        log_server: of the fill log. A cluster is no broker, and neither is a server that takes a credential provider,
            or one behind sentinels that talk TLS.

    Raises:
        ConfigError: the url cannot be read; the message holds nothing of it, since kombu's own would hold the password.
    """
    problem = broker_problem(url)
    if problem:
        raise ConfigError(f"broker_url cannot be read: {problem}")
    url = url or _url_of(log_server)
    if SENTINEL in url:
        return _watched(url)
    return BrokerUrl(";".join(_checked(_for_kombu(one)) for one in url.split(";")))


def _watched(url: str) -> BrokerUrl:
    """Return the url of a service that sentinels watch as kombu writes it: one for each of them, and the name apart."""
    scheme = url.partition(SENTINEL)[0]
    if _SCHEMES.get(scheme, scheme) != "redis":
        raise ConfigError("broker_url: Celery cannot reach sentinels over TLS; name a server, or leave it empty")
    watched = read_watched(url)
    parts = urlsplit(watched.server_url)
    who = parts.netloc.rpartition("@")
    urls = [f"sentinel://{who[0]}{who[1]}{host}:{port}{parts.path}" for host, port in watched.sentinels]
    limits = {"socket_timeout": _SENTINEL_SECONDS, "socket_connect_timeout": _SENTINEL_SECONDS}
    return BrokerUrl(";".join(urls), master_name=watched.service, sentinel_kwargs={**limits, **watched.login})


def _for_kombu(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if scheme.endswith("+cluster"):
        raise ConfigError("broker_url: a cluster cannot be Celery's broker; name a single server, or leave it empty")
    return f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"


def _url_of(server: Server) -> str:
    tls = server.url.startswith(("rediss" + SENTINEL, "valkeys" + SENTINEL))
    if tls or server.is_cluster or "credential_provider" in server.options:
        return ""
    if server.url:
        return server.url
    who = f"{quote(server.username, safe='')}:{quote(server.password, safe='')}@" if server.password else ""
    if server.unix_socket:
        return f"redis+socket://{who}{server.unix_socket}"
    return f"{'rediss' if server.tls else 'redis'}://{who}{server.host}:{server.port}/{server.db}{_tls_of(server)}"


def _tls_of(server: Server) -> str:
    if not server.tls:
        return ""
    query = {"ssl_cert_reqs": "required" if server.tls_verify else "none"}
    if not server.tls_verify:
        query["ssl_check_hostname"] = "false"
    if server.tls_ca_certs:
        query["ssl_ca_certs"] = server.tls_ca_certs
    query |= {name: str(value).lower() for name, value in server.options.items() if isinstance(value, bool)}
    query |= {name: value for name, value in server.options.items() if isinstance(value, str)}
    return "?" + urlencode(query)


def _checked(url: str) -> str:
    """Return the url so that a certificate is checked unless it says otherwise; kombu's default is not to (5.7)."""
    parts = urlsplit(url)
    if parts.scheme != "rediss" or any(name == "ssl_cert_reqs" for name, _ in parse_qsl(parts.query)):
        return url
    return urlunsplit(parts._replace(query="&".join(filter(None, (parts.query, "ssl_cert_reqs=required")))))
