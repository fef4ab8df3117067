"""Server URL: says which part of a URL cannot be read, without showing any of it: it may hold a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

SENTINEL = "+sentinel://"
"""What tells the url of a service that sentinels watch: its hosts are theirs, and its path names the service."""

_SENTINEL_PORT = 26_379
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")
_ENCODE = "write special characters in a user name or password percent-encoded, for example %2F for a slash"


@dataclass(frozen=True, slots=True)
class Watched:
    """What the url of a service that sentinels watch says.

    Attributes:
        sentinels: host and port of each.
        service: its name.
        login: user name and password for the sentinels themselves, as redis-py takes them.
        server_url: of the service, with the first sentinel's host in the place of its own.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    login: dict[str, str] = field(repr=False)
    server_url: str = field(repr=False)


def read_watched(url: str) -> Watched:
    """Return what a url with ``SENTINEL`` says; one in which ``url_problem`` finds nothing.

    >>> read_watched("valkey+sentinel://me:secret@one,two:7000/main?db=1").sentinels
    (('one', 26379), ('two', 7000))
    >>> read_watched("valkey+sentinel://me:secret@one,two:7000/main?db=1").server_url
    'valkey://me:secret@one/1'
    """
    parts = [urlsplit(one) for one in _one_by_one(url)]
    options = dict(parse_qsl(parts[0].query))
    names = ("username", "password")
    login = {name: options.pop(f"sentinel_{name}") for name in names if f"sentinel_{name}" in options}
    first = parts[0]._replace(path="/" + options.pop("db", "0"))
    return Watched(
        tuple((one.hostname or "127.0.0.1", _SENTINEL_PORT if one.port is None else one.port) for one in parts),
        parts[0].path.strip("/"),
        login,
        first._replace(query=urlencode(options)).geturl(),
    )


def _one_by_one(url: str) -> list[str]:
    """Return a url with several sentinels as one for each of them; any other url alone."""
    scheme, mark, rest = url.partition(SENTINEL)
    if not mark:
        return [url]
    authority, slash, path = rest.partition("/")
    who, at, hosts = authority.rpartition("@")
    return [f"{scheme}://{who}{at}{host}{slash}{path}" for host in hosts.split(",")]


def url_problem(url: str) -> str:
    """Return what is wrong with the url of a server; empty where nothing is.

    >>> url_problem("valkey://:secret@host:6379/1")
    ''
    >>> url_problem("valkey://:sec/ret@host:6379/1").partition(";")[0]
    'its port cannot be read'
    """
    for one in _one_by_one(url):
        problem = _broken(one) or _misplaced(urlsplit(one), watched=SENTINEL in url)
        if problem:
            return problem
    return ""


def broker_problem(url: str) -> str:
    """Return what is wrong with the url of a broker, or with one of several that semicolons keep apart."""
    for one in url.split(";"):
        if SENTINEL in one:
            if problem := url_problem(one):
                return problem
            continue
        problem = _broken(one) if "@" in one or "://" in one else ""
        if not problem and "://" in one:
            parts = urlsplit(one)
            problem = _hidden(parts) if parts.netloc else ""
        if problem:
            return problem
    return ""


def _broken(url: str) -> str:
    """Return why a url has no parts at all."""
    if "://" not in url:
        return f"it has no '://' after its scheme; {_ENCODE}"
    try:
        parts = urlsplit(url)
    except ValueError:  # its message holds the user name and the password
        return f"its host cannot be read; {_ENCODE}"
    try:
        parts.port  # noqa: B018 - it is read when it is asked for
    except ValueError:
        return f"its port cannot be read; {_ENCODE}"
    return ""


def _misplaced(parts: SplitResult, *, watched: bool) -> str:
    if parts.scheme == "unix":
        return ""
    if hidden := _hidden(parts):
        return hidden
    if parts.fragment:
        return f"it has a '#'; {_ENCODE}"
    database = parts.path.strip("/")
    if watched:
        if not _SERVICE.fullmatch(database):
            return "it names no service behind its sentinels: valkey+sentinel://host:port,host:port/service"
        database = dict(parse_qsl(parts.query)).get("db", "")
    if database and not database.isdigit():
        return f"its database is no number; {_ENCODE}"
    return ""


def _hidden(parts: SplitResult) -> str:
    """Return what is wrong where the host stands behind a sign that ends the user name and the password."""
    behind = parts.path if "@" in parts.netloc else parts.path + parts.query + parts.fragment
    return f"an '@' stands behind its host; {_ENCODE}" if "@" in behind else ""
