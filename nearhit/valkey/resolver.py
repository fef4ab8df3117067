"""Resolver: host names to addresses, within a time limit that the system's own call does not have."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from nearhit.resilience.per_process import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

Address = tuple[Any, ...]
"""Family, type, protocol, canonical name and socket address, as ``socket.getaddrinfo`` gives them."""

PATIENCE_SECONDS = 0.25
"""How long a name server is waited for where the last answer is known."""


class Resolver:
    """Finds the addresses of hosts, and keeps each last answer for a name server that does not answer.

    ``getaddrinfo`` has no time limit: a dead name server holds it for 5 s and longer. It runs on a thread of its own,
    one for each name at a time, however many wait for it. Thread-safe and fork-safe.

    Args:
        look_up: asks the system; takes host, port, family and type as ``socket.getaddrinfo`` does.
    """

    def __init__(self, look_up: Callable[..., list[Any]] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._known: dict[tuple[str, int, int], list[Address]] = {}
        self._asked: PerProcess[dict[tuple[str, int, int], Future[list[Address]]]] = PerProcess(dict)

    def find(self, host: str, port: int, seconds: float, family: int = 0) -> list[Address]:
        """Return the addresses of a host, best first; the last known ones where the name server does not answer.

        Raises:
            OSError: the name is unknown.
            TimeoutError: no answer came within ``seconds``.
        """
        asked, limit = self._ask(host, port, seconds, family)
        try:
            return asked.result(limit)
        except OSError as error:  # a TimeoutError is one, too
            return self._last(host, port, family, error)

    async def find_async(self, host: str, port: int, seconds: float, family: int = 0) -> list[Address]:
        """Return what ``find`` does, without blocking the loop or a thread of its executor."""
        asked, limit = self._ask(host, port, seconds, family)
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(asyncio.wrap_future(asked))
        except OSError as error:  # a TimeoutError is one, too
            return self._last(host, port, family, error)

    def _ask(self, host: str, port: int, seconds: float, family: int) -> tuple[Future[list[Address]], float]:
        asked = _numeric(host, port, family)
        if asked is not None:
            return asked, seconds
        place, waiting = (host, port, family), self._asked.get()
        asked = waiting.get(place)
        if asked is None:
            made: Future[list[Address]] = Future()
            asked = waiting.setdefault(place, made)
            if asked is made:
                try:
                    arguments = (place, asked, waiting)
                    threading.Thread(target=self._run, args=arguments, name="nearhit-resolver", daemon=True).start()
                except RuntimeError as error:  # no thread can be started
                    waiting.pop(place, None)
                    asked.set_exception(OSError(str(error)))
        return asked, min(seconds, PATIENCE_SECONDS) if place in self._known else seconds

    def _run(
        self,
        place: tuple[str, int, int],
        asked: Future[list[Address]],
        waiting: dict[tuple[str, int, int], Future[list[Address]]],
    ) -> None:
        host, port, family = place
        found: list[Address] | Exception = OSError(f"the search for the name {host!r} ended without an answer")
        try:
            found = self._known[place] = self._look_up(host, port, family, socket.SOCK_STREAM)
        except (OSError, ValueError) as error:  # a name that is no name is a UnicodeError
            found = error
        finally:  # whatever it raised, the next one asks again
            waiting.pop(place, None)
            if isinstance(found, Exception):
                asked.set_exception(found)
            else:
                asked.set_result(found)

    def _last(self, host: str, port: int, family: int, error: Exception) -> list[Address]:
        known = self._known.get((host, port, family))
        if known is not None:
            return known
        if isinstance(error, TimeoutError):
            raise TimeoutError(f"the name {host!r} was not resolved in time") from error
        raise error


def _numeric(host: str, port: int, family: int) -> Future[list[Address]] | None:
    """Return the address of a host that is written as one; no name server is asked."""
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    asked: Future[list[Address]] = Future()
    asked.set_result(found)
    return asked
