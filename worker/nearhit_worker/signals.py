"""Signals: how a process is told to stop, and where that must wait for a moment."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDING = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not on Windows
    if (number := getattr(signal, name, None)) is not None
)


def end_when_told() -> None:
    """Let SIGTERM end this process at once, with code 0, until Celery handles it: nothing was begun yet.

    Without a handler the kernel drops the signal where this is the first process of a container, which then lives on
    until it is killed.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP take effect at the end of the block, not in it.

    For the moment between the start of a child process and the line that remembers it: an exception there would leave
    a child that nobody knows of. A blocked signal mask would do here, too, but children inherit it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread alone
        return
    came: list[int] = []
    before: dict[int, Callable[[int, Any], Any]] = {}
    try:
        for number in ENDING:
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            before[number](number, None)
