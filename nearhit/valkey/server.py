"""Server: where a Valkey server is, and the redis-py clients that reach it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from nearhit.errors import ConfigError
from nearhit.valkey.server_url import SENTINEL, read_watched, url_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+cluster": "redis",
    "rediss+cluster": "rediss",
    "valkey+cluster": "redis",
    "valkeys+cluster": "rediss",
    "redis+sentinel": "redis",
    "rediss+sentinel": "rediss",
    "valkey+sentinel": "redis",
    "valkeys+sentinel": "rediss",
}

_KEPT_OPTIONS = (
    *("credential_provider", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_ca_data", "ssl_ca_path"),
    *("ssl_check_hostname", "ssl_ciphers", "ssl_min_version", "ssl_include_verify_flags", "ssl_exclude_verify_flags"),
)
"""What of a caller's client goes along to other connections to its server, besides what a url can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a Valkey server is: a url, or its parts.

    Attributes:
        url: ``valkey://``, ``valkeys://`` (TLS), ``redis://``, ``rediss://`` or ``unix://``; with ``+cluster`` for a
            cluster, for example ``valkey+cluster://``; with ``+sentinel`` for the primary that sentinels name,
            ``valkey+sentinel://user:password@host:port,host:port/service?db=0``, with ``sentinel_username`` and
            ``sentinel_password`` where the sentinels themselves ask for them. Empty takes the parts.
        host: name or address.
        port: 1 to 65535.
        username: ACL user; empty for the default one.
        password: its password.
        db: database number; a cluster has only 0.
        unix_socket: path of a unix socket instead of host and port.
        tls: talk TLS.
        tls_ca_certs: file of certificate authorities for TLS; empty takes the system's.
        tls_verify: check the server's certificate and name; False is for tests.
        cluster: the server is a cluster.
        connect_timeout_seconds: how long a connect may take.
        timeout_seconds: how long a reply may take where no deadline is nearer.
        max_connections: connections a process may hold at once.
        options: further arguments of redis-py's connections: a client certificate, a credential provider.
    """

    url: str = field(default="", repr=False)
    host: str = "127.0.0.1"
    port: int = 6379
    username: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    unix_socket: str = ""
    tls: bool = False
    tls_ca_certs: str = ""
    tls_verify: bool = True
    cluster: bool = False
    connect_timeout_seconds: float = 1.0
    timeout_seconds: float = 1.0
    max_connections: int = 64
    options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        if self.url:
            _check_url(self.url)
        if not 1 <= self.port <= 65_535:
            raise ConfigError(f"port must be 1 to 65535, not {self.port!r}")
        if self.db < 0:
            raise ConfigError(f"db must be 0 or more, not {self.db!r}")
        for name in ("connect_timeout_seconds", "timeout_seconds"):
            if not 0 < getattr(self, name) <= 3600:
                raise ConfigError(f"{name} must be above 0 and at most 3600, not {getattr(self, name)!r}")
        if self.max_connections < 1:
            raise ConfigError(f"max_connections must be 1 or more, not {self.max_connections!r}")
        if self.is_cluster and (self.db or self.unix_socket):
            raise ConfigError(f"a cluster has neither db {self.db} nor a unix socket; leave both out")

    @classmethod
    def from_env(cls, environ: Mapping[str, str], **changes: Any) -> Server:
        """Return the server of ``VALKEY_URL``, or of ``VALKEY_HOST``, ``_PORT``, ``_USERNAME``, ``_PASSWORD``, ``_DB``
        and ``_SSL``, or of the same with ``REDIS_``.

        Raises:
            ConfigError: a variable cannot be read; the message names it.
        """  # noqa: D205 - the sentence names all that is read
        for prefix in ("VALKEY_", "REDIS_"):
            if environ.get(prefix + "URL"):
                return cls(url=environ[prefix + "URL"], **changes)
            if environ.get(prefix + "HOST"):
                parts: dict[str, Any] = {
                    "host": environ[prefix + "HOST"],
                    "port": _whole(environ, prefix + "PORT", 6379),
                    "username": environ.get(prefix + "USERNAME", ""),
                    "password": environ.get(prefix + "PASSWORD", ""),
                    "db": _whole(environ, prefix + "DB", 0),
                    "tls": environ.get(prefix + "SSL", "").lower() in {"1", "true", "yes", "on"},
                }
                return cls(**{**parts, **changes})
        return cls(**changes)

    @property
    def is_cluster(self) -> bool:
        """Whether this is a cluster, by its flag or by its url."""
        return self.cluster or "+cluster://" in self.url

    @property
    def is_watched(self) -> bool:
        """Whether sentinels say where the server is."""
        return SENTINEL in self.url

    @property
    def plain_url(self) -> str:
        """The url with a scheme that redis-py and kombu know; with the password, so never logged.

        That of a service behind sentinels has the host of the first one.
        """
        scheme, _, rest = (read_watched(self.url).server_url if self.is_watched else self.url).partition("://")
        return f"{_SCHEMES[scheme]}://{rest}"

    @property
    def label(self) -> str:
        """Where the server is, for messages and logs: never the password."""
        if self.is_watched:
            watched = read_watched(self.url)
            return f"{watched.service} at " + ",".join(f"{host}:{port}" for host, port in watched.sentinels)
        if self.url:
            parts = urlsplit(self.url)
            where = parts.path if parts.scheme == "unix" else f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}"
            return where + (parts.path if parts.scheme != "unix" and parts.path.strip("/") else "")
        return self.unix_socket or f"{self.host}:{self.port}" + (f"/{self.db}" if self.db else "")

    def client(self) -> redis.Redis | redis.RedisCluster:
        """Return a blocking client; it connects when it is first used, a cluster's at once, and retries nothing."""
        return self.cluster_client() if self.is_cluster else self.single_client()

    def single_client(self) -> redis.Redis:
        """Return a blocking client for a server that is no cluster."""
        if self.is_watched:
            found: redis.Redis = self._primary(redis.sentinel.Sentinel, self._options(), Retry(NoBackoff(), 0))
            return found
        if self.url:
            return redis.Redis.from_url(self.plain_url, **self._options())
        return redis.Redis(**self._target(), **self._options())

    def cluster_client(self) -> redis.RedisCluster:
        """Return a blocking client for a cluster; unlike the others it connects at once."""
        return redis.RedisCluster(**self._target(), **self._options())

    def async_client(self) -> redis.asyncio.Redis | redis.asyncio.RedisCluster:
        """Return an asyncio client for the running loop; it connects when it is first used."""
        options = self._options()
        if self.is_cluster:
            return redis.asyncio.RedisCluster(**self._target(), **options)
        # a link bounds whole round trips; a limit of redis-py's own makes a task of every write, a quarter of an HMGET
        options["socket_timeout"] = None
        if self.is_watched:
            once = redis.asyncio.retry.Retry(NoBackoff(), 0)
            found: redis.asyncio.Redis = self._primary(redis.asyncio.sentinel.Sentinel, options, once)
            return found
        if self.url:
            return redis.asyncio.Redis.from_url(self.plain_url, **options)
        return redis.asyncio.Redis(**self._target(), **options)

    def _primary(self, kind: Any, options: dict[str, Any], once: Any) -> Any:
        """Return a client for the primary that sentinels name.

        Args:
            kind: ``Sentinel`` of redis-py, for threads or asyncio.
            options: of connections to the primary.
            once: redis-py's policy of no second try, of the same kind: the next sentinel is asked instead.
        """
        watched, parts = read_watched(self.url), dict(parse_url(self.plain_url))
        tls = parts.pop("connection_class", None) is not None
        for name in ("host", "port"):
            parts.pop(name, None)
        asking = {name: value for name, value in parts.items() if name.startswith("ssl_")} | watched.login
        limits = {
            "socket_timeout": self.connect_timeout_seconds,
            "socket_connect_timeout": self.connect_timeout_seconds,
        }
        manager = kind(watched.sentinels, sentinel_kwargs={**asking, **limits, "retry": once, "ssl": tls})
        return manager.master_for(watched.service, ssl=tls, **parts, **options)

    def _target(self) -> dict[str, Any]:
        if self.url:  # only a cluster comes here with a url: its clients take parts, not a url of another scheme
            parts: dict[str, Any] = dict(parse_url(self.plain_url))
            tls_class = parts.pop("connection_class", None)
            parts.pop("db", None)
            return {"host": "127.0.0.1", "port": 6379, **parts, **({"ssl": True} if tls_class else {})}
        where: dict[str, Any] = {"unix_socket_path": self.unix_socket} if self.unix_socket else {"host": self.host}
        if not self.unix_socket:
            where["port"] = self.port
        if not self.is_cluster:
            where["db"] = self.db
        tls: dict[str, Any] = {}
        if self.tls:
            tls = {"ssl": True, "ssl_cert_reqs": "required" if self.tls_verify else "none"}
            tls["ssl_check_hostname"] = self.tls_verify
            if self.tls_ca_certs:
                tls["ssl_ca_certs"] = self.tls_ca_certs
        return {**where, "username": self.username or None, "password": self.password or None, **tls, **self.options}

    def _options(self) -> dict[str, Any]:
        return {
            "socket_timeout": self.timeout_seconds,
            "socket_connect_timeout": self.connect_timeout_seconds,
            "max_connections": self.max_connections,
            # redis-py's own default takes 3.9 s to give up on a dead server (8.1.0); a cache fails open at once
            "retry": Retry(NoBackoff(), 0),
        }


def server_of(client: Any) -> Server:
    """Return where a caller's redis-py client connects to and how, so that other threads can connect there, too.

    Raises:
        ConfigError: the client does not say.
    """
    nodes = getattr(client, "nodes_manager", None)
    if nodes is not None:
        return _cluster_of(client, nodes)
    pool = getattr(client, "connection_pool", None)
    options = getattr(pool, "connection_kwargs", None)
    if not isinstance(options, dict) or not (options.get("host") or options.get("path")):
        raise ConfigError(f"a {type(client).__name__} does not say where it goes: set url and log_url instead")
    return Server(
        host=str(options.get("host") or "127.0.0.1"),
        port=int(options.get("port") or 6379),
        db=int(options.get("db") or 0),
        unix_socket=str(options.get("path") or ""),
        tls="SSL" in getattr(pool, "connection_class", type(None)).__name__,
        **_identity(options),
    )


def _cluster_of(client: Any, nodes: Any) -> Server:
    options = getattr(nodes, "connection_kwargs", None) or getattr(client, "connection_kwargs", {})
    first = next(iter(nodes.startup_nodes.values()))
    return Server(
        host=str(first.host),
        port=int(first.port),
        tls=bool(options.get("ssl")) or "SSL" in getattr(options.get("connection_class"), "__name__", ""),
        cluster=True,
        **_identity(options),
    )


def _identity(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return who a client is to its server, and what it takes for that server."""
    return {
        "username": str(options.get("username") or ""),
        "password": str(options.get("password") or ""),
        "tls_ca_certs": str(options.get("ssl_ca_certs") or ""),
        "tls_verify": options.get("ssl_cert_reqs", "required") not in (None, "none", ssl.CERT_NONE),
        "options": {name: options[name] for name in _KEPT_OPTIONS if options.get(name) is not None},
    }


def _check_url(url: str) -> None:
    problem = url_problem(url)
    if problem:
        raise ConfigError(f"the server url cannot be read: {problem}")
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        raise ConfigError(f"the server url has scheme {scheme!r}, expected one of {', '.join(sorted(_SCHEMES))}")
    watched = read_watched(url) if SENTINEL in url else None
    for port in [port for _, port in watched.sentinels] if watched else [urlsplit(url).port]:
        if port is not None and port < 1:
            raise ConfigError(f"the server url has port {port}, expected 1 to 65535")
    problem = _option_problem(watched.server_url if watched else url)
    if problem:
        raise ConfigError(f"the server url cannot be read: {problem}")


def _option_problem(url: str) -> str:
    """Return what redis-py cannot read in a url; its messages name options, never their values."""
    scheme, _, rest = url.partition("://")
    try:
        parse_url(f"{_SCHEMES[scheme]}://{rest}")
    except ValueError as error:
        return str(error)
    return ""


def is_service_link(text: str) -> bool:
    """Return whether Kubernetes has set a variable, not a person: ``X_PORT`` is the address of a Service named x."""
    return text.partition("://")[0] in {"tcp", "udp", "sctp"}


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "")
    if is_service_link(text):
        return default
    try:
        return int(text) if text else default
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, not {text!r}") from None
