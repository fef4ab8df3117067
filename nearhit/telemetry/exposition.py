"""Exposition: metrics as a scrape gets them, from one process or from all processes of a prefork server.

Prefork servers (gunicorn, uvicorn workers, Celery's prefork pool) have one registry in each process, and a scrape meets
any one of them. With ``PROMETHEUS_MULTIPROC_DIR`` set before Python starts, prometheus_client keeps the values in files
there, one set a process, and a scrape adds them up. What it leaves to its user is done here: gauges of processes that
ended are taken away, and the counters of those are folded into one file, so that the folder does not grow.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.registry import Collector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_FILE = re.compile(r"(?P<kind>counter|histogram|summary|gauge_[a-z]+)_(?P<pid>\d+)\.db")


def multiprocess_folder() -> Path | None:
    """Return where prometheus_client keeps the values of all processes; ``None`` in a process of its own.

    The variable is prometheus_client's and no setting of ours: it decides at the import of prometheus_client.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if folder else None


def expose(registry: CollectorRegistry, accept: str = "", only_here: Iterable[Collector] = ()) -> tuple[str, bytes]:
    """Return content type and body of a scrape: the text format, or OpenMetrics where ``accept`` asks for it.

    Args:
        registry: what a process of its own exposes; with ``PROMETHEUS_MULTIPROC_DIR``, all processes' values instead.
        accept: the request's ``Accept`` header.
        only_here: collectors of this process alone that go along, such as its memory.
    """
    encode, kind = choose_encoder(accept)
    whole = CollectorRegistry()
    for one in only_here:
        whole.register(one)
    folder = multiprocess_folder()
    if folder is None:
        whole.register(registry)
        return kind, encode(whole)
    list(registry.collect())  # brings what is set at a scrape into this process's own file
    with _alone(folder):
        forget_ended(folder)
        MultiProcessCollector(whole, str(folder))
        return kind, encode(whole)


def clear(folder: Path) -> None:
    """Remove what an earlier run left in ``folder``, making it where needed.

    For the start of the first process, before any series is made: process ids come again, in containers at every
    start, and a new process would take over the gauges of an old one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.db"):
        path.unlink(missing_ok=True)


def forget_ended(folder: Path) -> None:
    """Remove the gauges of processes that ended, and fold their counters and histograms into one file a kind.

    Processes are told by their ids on this machine, so that a folder must not be shared by containers.
    """
    ended: dict[str, list[Path]] = {}
    for path in folder.glob("*.db"):
        found = _FILE.fullmatch(path.name)
        if found is None or runs(int(found["pid"])):
            continue
        if found["kind"].startswith("gauge"):
            path.unlink(missing_ok=True)
        else:
            ended.setdefault(found["kind"], []).append(path)
    for kind, paths in ended.items():
        fold(folder / f"{kind}_ended.db", paths)


def fold(into: Path, paths: list[Path]) -> None:
    """Add the values of ``paths`` to those of ``into``. A crash between the last two steps counts them twice, once."""
    totals: dict[str, float] = {}
    for path in (into, *paths):
        if path.exists():
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                totals[key] = totals.get(key, 0.0) + value
    aside = into.with_suffix(".new")
    aside.unlink(missing_ok=True)
    file = MmapedDict(str(aside))
    for key, value in totals.items():
        file.write_value(key, value, 0.0)
    file.close()
    aside.replace(into)
    for path in paths:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other scrapes out while files are read and folded, those that other processes answer included."""
    import fcntl  # noqa: PLC0415 - not on Windows, which has no prefork servers either

    with (folder / ".scrape-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def runs(pid: int) -> bool:
    """Return whether a process of this machine has the id ``pid``."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs as another user
    return True
