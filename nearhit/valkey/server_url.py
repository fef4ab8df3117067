"""Server URL: says which part of a URL cannot be read, without showing any of it: it may hold a password."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

_ENCODE = "write special characters in a user name or password percent-encoded, for example %2F for a slash"


def url_problem(url: str) -> str:
    """Return what is wrong with the url of a server; empty where nothing is.

    >>> url_problem("valkey://:secret@host:6379/1")
    ''
    >>> url_problem("valkey://:sec/ret@host:6379/1").partition(";")[0]
    'its port cannot be read'
    """
    return _broken(url) or _misplaced(urlsplit(url))


def broker_problem(url: str) -> str:
    """Return what is wrong with the url of a broker, or with one of several that semicolons keep apart."""
    for one in url.split(";"):
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


def _misplaced(parts: SplitResult) -> str:
    if parts.scheme == "unix":
        return ""
    if hidden := _hidden(parts):
        return hidden
    if parts.fragment:
        return f"it has a '#'; {_ENCODE}"
    database = parts.path.strip("/")
    if database and not database.isdigit():
        return f"its database is no number; {_ENCODE}"
    return ""


def _hidden(parts: SplitResult) -> str:
    """Return what is wrong where the host stands behind a sign that ends the user name and the password."""
    behind = parts.path if "@" in parts.netloc else parts.path + parts.query + parts.fragment
    return f"an '@' stands behind its host; {_ENCODE}" if "@" in behind else ""
