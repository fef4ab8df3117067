"""Finding: the result of one check of the doctor, with advice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from nearhit.valkey.server import Server


class Status(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - no password: the word for a check that went well
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        status: how it ended.
        text: what was seen.
        advice: what to do; empty for a pass.
    """

    check: str
    status: Status
    text: str
    advice: str = ""


def passed(check: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(check, Status.PASS, text)


def warned(check: str, text: str, advice: str) -> Finding:
    """Return a finding that works now and may cause trouble later."""
    return Finding(check, Status.WARN, text, advice)


def failed(check: str, text: str, advice: str) -> Finding:
    """Return a finding that does not work."""
    return Finding(check, Status.FAIL, text, advice)


def address_of(server: Server) -> tuple[str, bool]:
    """Return the host of a server and whether we bring a password; a unix socket has no host."""
    if server.url:
        return address_of_url(server.plain_url)
    return ("" if server.unix_socket else server.host), bool(server.password)


def address_of_url(url: str) -> tuple[str, bool]:
    """Return the host of a url and whether there is a password in it."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return "", True
    return parts.hostname or "127.0.0.1", bool(parts.password)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    if host in {"", "localhost"}:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
