"""Demo: the command that fills a cache of its own through the queue, asks it, and shows what it answered."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options
from nearhit.cli.up import add_module, check_parts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from nearhit_worker.demo.figures import Asked

    from nearhit.cli.screen import Screen
    from nearhit.settings import Settings

DESCRIPTION = """
Starts a stack of its own (a real valkey-server and a real worker, in a temporary folder), fills it through the queue
with questions and answers of an imagined product, and asks: the same questions again, rewordings, near questions that
mean something else (traps), and strangers. Shows a selection and the figures of all, and stops what it started.
Ends with 1 when fewer than half of the rewordings hit or something failed.
"""
EXAMPLES = """
nearhit demo
nearhit demo --module /usr/lib/valkey/libsearch.so
nearhit demo --json | jq .summary.kinds
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_module(parser)
    options.add_json(parser)
    options.add_settings(parser, ("threshold", "model"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Run the demo.

    Raises:
        ConfigError: a setting is wrong, or a part is missing on this machine.
        UnavailableError: a part does not start or does not answer.
    """
    given = options.chosen(arguments)
    started = time.monotonic()
    with _ended_by_sigterm():
        report = _travel({"threshold": options.DEFAULT_THRESHOLD, **given}, arguments.module, screen)
    report["seconds"] = round(time.monotonic() - started, 1)
    if screen.json_wanted:
        screen.document(report)
    else:
        from nearhit.cli.demo_view import show  # noqa: PLC0415 - JSON needs no tables

        show(report, screen)
    return exits.MISS if report["failures"] else exits.OK


def _travel(values: dict[str, Any], module: str, screen: Screen) -> dict[str, Any]:
    # imported here: help needs none of it
    from nearhit_worker.demo import figures, journey, questions  # noqa: PLC0415
    from nearhit_worker.stack import Stack  # noqa: PLC0415

    from nearhit.cache import SemanticCache  # noqa: PLC0415
    from nearhit.cli.opened import open_now  # noqa: PLC0415
    from nearhit.settings import Settings  # noqa: PLC0415

    settings = Settings.from_env({}, namespace="demo", **values)
    check_parts(settings, module)
    say = _Progress(screen)
    say("starting a valkey-server and a worker")
    with Stack(_variables(settings), module=module) as stack:
        settings = Settings.from_env(stack.settings, deadline_ms=2_000, enqueue_deadline_ms=2_000)
        with SemanticCache(settings) as cache:
            say("loading the embedding model")
            open_now(cache, settings)
            answers = questions.answers()
            say(f"filling {len(answers)} answers through the queue")
            filled = journey.fill_all(cache, answers)
            every = questions.questions()
            say(f"asking {len(every)} questions")
            asked = journey.ask_all(cache, every)
        url = stack.worker.metrics_url if stack.worker else ""
        metrics = {"url": url, "samples": journey.scrape(url)}
        stack.check()
        say("stopping everything")
    summary = figures.summarise(asked, filled)
    return {
        "model": settings.model,
        "threshold": settings.threshold,
        "engine": "valkey-search" if module else "local",
        "sample": [_described(one) for one in figures.selection(asked)],
        "summary": summary,
        "metrics": metrics,
        "failures": figures.failures(summary),
    }


def _described(asked: Asked) -> dict[str, Any]:
    from nearhit.cli.lookup import described  # noqa: PLC0415 - help needs none of it

    row = described(asked.outcome)
    return {"kind": asked.question.kind.value, **row, "prompt": asked.question.prompt, "wrong": asked.wrong}


def _variables(settings: Settings) -> dict[str, str]:
    """Return the variables of the demo's worker; those that the demo does not set are blank, whatever is set here."""
    from nearhit.settings import PREFIX, setting_names  # noqa: PLC0415 - help needs none of it

    return {**{PREFIX + name.upper(): "" for name in setting_names()}, **options.variables_of(settings)}


class _Progress:
    """Says on stderr what is going on, with the seconds since the start."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        self._screen.note(f"{time.monotonic() - self._started:5.1f} s  {text}")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that it stops what it started."""

    def end(number: int, frame: Any) -> None:  # noqa: ARG001 - the signature of a signal handler
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
