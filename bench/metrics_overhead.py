"""Metrics overhead: what counting adds to a lookup, in microseconds; the bound is 15 in a process of its own.

``python -m bench.metrics_overhead`` prints a row for each outcome, for one process and for multiprocess mode. Counting
is timed alone, over outcomes with every field that a real one has: a lookup takes 50 µs and more, and its own spread
would hide the few that are looked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from nearhit.domain.entry import Usage
from nearhit.domain.outcome import Hit, Miss, MissReason, Nearest, Tier
from nearhit.telemetry.exposition import FOLDER_VARIABLE, multiprocess_folder
from nearhit.telemetry.metrics import Metrics

CALLS = 20_000
ROUNDS = 7
BOUND_MICROSECONDS = 15.0


def outcomes() -> dict[str, Hit | Miss]:
    """Return one outcome of each kind, with the stages that a real lookup gives it."""
    usage = Usage(prompt_tokens=420, completion_tokens=180, cost_dollars=0.0031, model="any")
    exact = {"exact": 0.00011, "total": 0.00014}
    semantic = {"exact": 0.00011, "embed": 0.0041, "search": 0.00034, "guard": 0.00006, "total": 0.0047}
    common: dict[str, Any] = {
        "answer": "a",
        "prompt": "p",
        "cached_prompt": "p",
        "key": "k",
        "age_seconds": 4000.0,
        "lifetime_seconds": 86_400.0,
        "usage": usage,
    }
    return {
        "exact hit": Hit(tier=Tier.EXACT, similarity=1.0, stages=exact, **common),
        "semantic hit": Hit(tier=Tier.SEMANTIC, similarity=0.973, stages=semantic, **common),
        "miss": Miss(reason=MissReason.BELOW_THRESHOLD, nearest=Nearest("p", 0.71), stages=semantic),
        "guard miss": Miss(reason=MissReason.GUARD, nearest=Nearest("p", 0.97, "number"), stages=semantic),
    }


def measure(outcome: Hit | Miss) -> float:
    """Return microseconds for counting ``outcome`` once: the best of rounds, in time of this thread on a processor.

    Neither is flattering: what other programs on the machine take is no part of what counting costs.
    """
    count = Metrics().count_lookup
    rounds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for _ in range(CALLS):
            count(outcome)
        rounds.append((time.thread_time() - started) / CALLS * 1e6)
    return min(rounds)


def main() -> int:
    """Print the table; return 1 when a row of a process of its own is above the bound."""
    mode = "multiprocess" if multiprocess_folder() else "one process"
    figures = {name: measure(outcome) for name, outcome in outcomes().items()}
    for name, microseconds in figures.items():
        print(f"{mode:14} {name:14} {microseconds:6.2f} µs", flush=True)
    if multiprocess_folder():  # every count is a write into a mapped file there; shown, without a bound
        return 0
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, FOLDER_VARIABLE: folder}
        subprocess.run([sys.executable, "-m", "bench.metrics_overhead"], env=env, check=True)
    return int(max(figures.values()) > BOUND_MICROSECONDS)


if __name__ == "__main__":
    raise SystemExit(main())
