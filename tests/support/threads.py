"""Threads: a process that gets no more of them, and those that a cache has started."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_STACK = 2**47
"""A stack larger than a process can address: the system refuses every thread, as it does where a limit is reached."""


@contextmanager
def no_threads() -> Iterator[None]:
    """Let the system refuse every thread that is started meanwhile."""
    before = threading.stack_size(_NO_STACK)
    try:
        yield
    finally:
        threading.stack_size(before)


def ours() -> set[threading.Thread]:
    """Return the threads of Nearhit that run."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("nearhit")}
