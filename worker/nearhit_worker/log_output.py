"""Log output: how the lines of a worker's log look, and how often it says the same."""

from __future__ import annotations

import json
import logging
import logging.handlers
import threading
import time
from datetime import UTC, datetime
from typing import Any

AGAIN_SECONDS = 60.0
"""How long a warning is not said again that was just said; the next one then says how many there were."""

_MOST_KINDS = 1_000
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "message", "repeats", "taskName"}


class Repeats(logging.Filter):
    """Lets a warning or error through once a minute, and counts those in between.

    Two are the same when they have logger, level and text in common, and are about the same part, by ``part`` in their
    ``extra``, or else by ``action``. Thread-safe, as handlers are.

    Args:
        again_seconds: how long it is not said again.
    """

    def __init__(self, again_seconds: float = AGAIN_SECONDS) -> None:
        super().__init__()
        self._again_seconds = again_seconds
        self._said: dict[tuple[Any, ...], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be seen; one that is has the number of those before it in ``repeats``."""
        if record.levelno < logging.WARNING:
            return True
        about = getattr(record, "part", "") or getattr(record, "action", "")
        kind = (record.name, record.levelno, str(record.msg)[:200], about)
        now = time.monotonic()
        with self._lock:
            if kind not in self._said and len(self._said) >= _MOST_KINDS:
                self._said.clear()
            said_at, held_back = self._said.get(kind, (-self._again_seconds, 0))
            seen = now - said_at >= self._again_seconds
            self._said[kind] = (now, 0) if seen else (said_at, held_back + 1)
        record.repeats = held_back
        return seen


class TextLines(logging.Formatter):
    """A line for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line, with the number of those that were held back."""
        repeats = getattr(record, "repeats", 0)
        return super().formatMessage(record) + (f" ({repeats} more since the last such line)" if repeats else "")


class JsonLines(logging.Formatter):
    """A line that is a JSON object; records of Nearhit's own have their further fields in it.

    Those of Celery's do not: there they hold the arguments of tasks, and so prompts and answers.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        row: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.name.partition(".")[0] == "nearhit":
            row |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if repeats := getattr(record, "repeats", 0):
            row["repeats"] = repeats
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        return json.dumps(row, ensure_ascii=False, default=str)


def held() -> logging.handlers.MemoryHandler:
    """Return a handler that keeps all lines until ``set_up`` says how they look."""
    waiting = logging.handlers.MemoryHandler(_MOST_KINDS, flushLevel=logging.CRITICAL + 1)
    logging.getLogger().addHandler(waiting)
    return waiting


def set_up(kind: str, level: str, waiting: logging.handlers.MemoryHandler) -> None:
    """Write the log to standard error from now on.

    Args:
        kind: ``text`` or ``json``.
        level: the least level of Nearhit's own lines; others are seen from ``warning`` on.
        waiting: what ``held`` has given.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    handler.addFilter(Repeats())
    root = logging.getLogger()
    root.removeHandler(waiting)
    root.addHandler(handler)
    logging.getLogger("nearhit").setLevel(level.upper())
    logging.captureWarnings(True)
    waiting.setTarget(handler)
    waiting.close()
