"""Load: what `nearhit load` takes of memory for a stream of rows, and how fast it is, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearhit_worker.stack import ValkeyServer

from bench.measure import Line, at_most, not_measured
from nearhit.valkey.key_names import LogKeys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

BASE_ROWS = 1_000
"""Rows of the load that is taken for the base: everything is imported, connected and begun."""

LIMIT_MIB = 150
NAMESPACE = "bench"
SECONDS_A_ROW = 0.002
_BLOCK = 1_000
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load took: its peak of resident memory in MiB, and seconds."""

    peak_mib: float
    seconds: float


def lines(rows: int) -> Iterator[Line]:
    """Yield what a load of ``rows`` rows takes above one of ``BASE_ROWS``, checked alone and for real."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder) / "valkey") as server:
        for how, options in (("--dry-run", ("--dry-run",)), ("for real", ("--no-wait",))):
            name = f"nearhit load, {rows:,} rows from a stream, {how}: peak memory above its base"
            try:
                with _Taker(server) as taker:
                    base = _load(server, Path(folder), options, BASE_ROWS)
                    whole = _load(server, Path(folder), options, rows)
                    added = taker.added()
            except (RuntimeError, TimeoutError) as error:
                yield not_measured(name, str(error), f"≤ {LIMIT_MIB}")
                continue
            if how == "for real" and added != rows + BASE_ROWS:
                yield not_measured(name, f"the log took {added:,} of {rows + BASE_ROWS:,} rows", f"≤ {LIMIT_MIB}")
                continue
            note = f"base {base.peak_mib:.0f} MiB, {rows / whole.seconds:,.0f} rows/s"
            if how == "for real":
                note += "; the log was emptied as it filled, since the loader alone is measured"
            yield at_most(name, whole.peak_mib - base.peak_mib, LIMIT_MIB, "MiB", note)


class _Taker:
    """Empties the bulk lane in the background, faster than workers would."""

    def __init__(self, server: ValkeyServer) -> None:
        self._client: Any = server.client()
        self._log = LogKeys(NAMESPACE).log("bulk")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> _Taker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def added(self) -> int:
        """Return how many rows the lane ever took."""
        return int(self._client.xinfo_stream(self._log)["entries-added"]) if self._client.exists(self._log) else 0

    def _take(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self._client.xtrim(self._log, maxlen=0, approximate=False)


def _load(server: ValkeyServer, folder: Path, options: tuple[str, ...], rows: int) -> Loaded:
    """Run the command in a process of its own, with ``rows`` rows at its standard input.

    Raises:
        RuntimeError: it fails.
        TimeoutError: it takes more than ``SECONDS_A_ROW`` a row.
    """
    env = {**os.environ, "NEARHIT_URL": server.url, "NEARHIT_MODEL": "hash/8", "NEARHIT_NAMESPACE": NAMESPACE}
    env["PYTHONPATH"] = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "nearhit", "load", "-", *options]
    with (folder / "said").open("w+") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=folder, env=env)
        assert process.stdin is not None  # noqa: S101 - for the type checker: it was opened as a pipe
        threading.Thread(target=_feed, args=(process.stdin, rows), daemon=True).start()
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _peak_mib(process.pid))
            if time.perf_counter() - started > 60 + SECONDS_A_ROW * rows:
                process.kill()
                process.wait()
                raise TimeoutError(f"{rows:,} rows took more than {60 + SECONDS_A_ROW * rows:.0f} s")
            time.sleep(_LOOK_SECONDS)
        said.seek(0)
        if process.returncode:
            raise RuntimeError(f"nearhit load ended with {process.returncode}: {said.read().strip()[-200:]}")
    return Loaded(peak, time.perf_counter() - started)


def _feed(pipe: IO[bytes], rows: int) -> None:
    try:
        for start in range(0, rows, _BLOCK):
            numbers = range(start, min(rows, start + _BLOCK))
            pipe.write(b"".join(b'{"prompt": "question %d", "answer": "answer %d"}\n' % (n, n) for n in numbers))
        pipe.close()
    except OSError:  # the load has ended early, and says why itself
        return


def _peak_mib(pid: int) -> float:
    """Return the peak of resident memory; 0 once the process has ended. ``ru_maxrss`` would count its parent's."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) / 1024 if found else 0.0
