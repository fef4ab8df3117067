"""Reader: what a replica of the local engine costs a process that has nothing else in it.

Run as ``python -m bench.reader <url> <entries>`` by the bench; prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import Corpus
from nearhit import SemanticCache, Settings

LOAD_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """How a reader loaded: seconds, and resident memory above the base in MiB."""

    seconds: float
    mib: float


def load(url: str, entries: int) -> Loaded:
    """Load a reader in a process of its own.

    Raises:
        TimeoutError: it does not load within ``LOAD_SECONDS``.
    """
    command = [sys.executable, "-m", "bench.reader", url, str(entries)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=LOAD_SECONDS + 60, check=False)
    if done.returncode:
        raise TimeoutError(f"a reader of {entries:,} entries did not load: {done.stderr.strip()[-200:]}")
    return Loaded(**json.loads(done.stdout))


def main() -> int:
    """Print what loading took."""
    url, entries = sys.argv[1], int(sys.argv[2])
    settings = Settings(threshold=0.5, url=url, engine="local", local_max_entries=entries)
    with SemanticCache(settings, embedder=Corpus(1)) as cache:
        base, started = _resident_mib(), time.perf_counter()
        if not cache.warm_up(LOAD_SECONDS):
            return 1
        print(json.dumps({"seconds": time.perf_counter() - started, "mib": _resident_mib() - base}))
    return 0


def _resident_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
