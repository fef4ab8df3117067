"""Traffic: asks a running cache what a public might ask, so that dashboards have something to show.

``python -m nearhit_worker.demo.traffic`` stands for an application: it reads the same settings, looks questions up, and
fills in what the cache does not have. It serves its own ``/metrics`` where a worker would.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nearhit.cache import SemanticCache
from nearhit.domain.entry import Usage
from nearhit.domain.outcome import Hit, Miss
from nearhit.errors import ConfigError
from nearhit.settings import Settings
from nearhit_worker.demo.questions import rows
from nearhit_worker.telemetry import TelemetryServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DOLLARS_PER_TOKEN = 0.000_01
_OFTEN = 0.9
_STRANGERS = 0.1
_TRAPS = 0.15


@dataclass(frozen=True, slots=True)
class DemoTraffic:
    """What is asked, and what a model would have answered."""

    prompt: str
    answer: str


def questions(chance: random.Random) -> Iterator[DemoTraffic]:
    """Yield questions without end: a few often, most seldom, some reworded, some traps, some never heard before."""
    known = {row["id"]: row for row in rows("answers")}
    often = list(known.values())
    chance.shuffle(often)
    weights = [1 / (rank + 1) ** _OFTEN for rank in range(len(often))]
    reworded = {row["answers"]: row["prompt"] for row in rows("rewordings")}
    traps = [row["prompt"] for row in rows("traps")]
    strangers = [row["prompt"] for row in rows("strangers")]
    while True:
        draw = chance.random()
        if draw < _STRANGERS:
            yield DemoTraffic(f"{chance.choice(strangers)} ({chance.randrange(10_000)})", "I do not know.")
        elif draw < _STRANGERS + _TRAPS:
            yield DemoTraffic(chance.choice(traps), "That is another question.")
        else:
            row = chance.choices(often, weights)[0]
            prompt = reworded.get(row["id"], row["prompt"]) if chance.random() < 1 / 2 else row["prompt"]
            yield DemoTraffic(prompt, row["answer"])


def ask(cache: SemanticCache, question: DemoTraffic) -> Hit | Miss:
    """Look a question up, and fill its answer in where there is none; return what the lookup gave."""
    outcome = cache.lookup(question.prompt, {"tenant": "demo"})
    if isinstance(outcome, Miss):
        tokens = len(question.prompt.split()) + 350, len(question.answer.split()) * 2
        cache.fill(outcome, question.answer, usage=Usage(*tokens, cost_dollars=sum(tokens) * DOLLARS_PER_TOKEN))
    return outcome


def run(cache: SemanticCache, per_second: float, seconds: float, chance: random.Random) -> int:
    """Ask ``per_second`` questions at random moments for ``seconds``, 0 for ever; return how many were asked."""
    end = time.monotonic() + seconds if seconds else float("inf")
    asked = 0
    for question in questions(chance):
        if time.monotonic() >= end:
            break
        ask(cache, question)
        asked += 1
        time.sleep(chance.expovariate(per_second))
    return asked


def main(arguments: Sequence[str]) -> int:
    """Run until the time is over or the process is stopped; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nearhit_worker.demo.traffic", description="Asks a running cache.")
    parser.add_argument("--per-second", type=float, default=20.0, help="questions a second")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long; 0 is for ever")
    parser.add_argument("--seed", type=int, default=None, help="asks the same questions again")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_env()
        with SemanticCache(settings) as cache:
            health = {"live": True, "ready": True}
            where = settings.metrics_host, settings.metrics_port
            server = TelemetryServer(cache.metrics.registry, lambda: health, *where)
            server.start()
            chance = random.Random(options.seed)  # noqa: S311 - made-up traffic
            asked = run(cache, options.per_second, options.seconds, chance)
            server.stop()
    except ConfigError as error:
        print(f"nearhit: {error}", file=sys.stderr)  # noqa: T201 - said to the person at the terminal
        return 2
    print(f"{asked} questions asked")  # noqa: T201 - said to the person at the terminal
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
