"""Undo: takes back what was begun and not finished."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def unless_finished(undo: Callable[[], object]) -> Iterator[None]:
    """Call ``undo`` where the block does not reach its end, whatever it raises, Ctrl-C and cancellation included.

    Example:
        >>> with unless_finished(lambda: print("closed again")):
        ...     raise TimeoutError
        Traceback (most recent call last):
            ...
        TimeoutError
    """
    finished = False
    try:
        yield
        finished = True
    finally:
        if not finished:
            undo()
