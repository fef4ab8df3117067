"""Broker url: the kombu url under which Celery reaches a Valkey server."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from nearhit.errors import ConfigError
from nearhit.valkey.server_url import broker_problem

if TYPE_CHECKING:
    from nearhit.valkey.server import Server

_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "unix": "redis+socket"}
"""What kombu calls the schemes of a server's url; others are its own, such as ``amqp``."""


def broker_of(url: str, log_server: Server) -> str:
    """Return the kombu url of the broker; empty where there is none.

    Args:
        url: what is set; empty takes the log's server.
        log_server: of the fill log. A cluster is no broker, and neither is a server that takes a credential provider.

    Raises:
        ConfigError: the url cannot be read; the message holds nothing of it, since kombu's own would hold the password.
    """
    problem = broker_problem(url)
    if problem:
        raise ConfigError(f"broker_url cannot be read: {problem}")
    return ";".join(_checked(_for_kombu(one)) for one in (url or _url_of(log_server)).split(";"))


def _for_kombu(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if scheme.endswith("+cluster"):
        raise ConfigError("broker_url: a cluster cannot be Celery's broker; name a single server, or leave it empty")
    return f"{_SCHEMES.get(scheme, scheme)}{separator}{rest}"


def _url_of(server: Server) -> str:
    if server.is_cluster or "credential_provider" in server.options:
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
