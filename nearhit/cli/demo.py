"""Demo: the command that fills a cache of its own through the queue, asks it, and shows what it answered."""

from __future__ import annotations

import signal
import time
from functools import partial
from typing import Any

from nearhit_worker.demo import figures, fill_and_ask, questions
from nearhit_worker.stack import Stack

from nearhit.cache import SemanticCache
from nearhit.cli import exits, lookup, options
from nearhit.cli.command import Arguments, command
from nearhit.cli.ready_cache import wait_until_ready
from nearhit.cli.screen import Screen
from nearhit.cli.up import check_parts, module_option, on_signals
from nearhit.settings import PREFIX, Settings, setting_names

EXAMPLES = """
nearhit demo
nearhit demo --module /usr/lib/valkey/libsearch.so
nearhit demo --json | jq .summary.kinds
"""


@command(EXAMPLES)
@module_option
@options.json_output
@options.settings("threshold", "model")
def run(arguments: Arguments, screen: Screen) -> int:
    """Fill a cache through the queue, ask it, and show what it answers.

    Starts a stack of its own (a real valkey-server and a real worker, in a temporary folder), fills it through the
    queue with questions and answers of an imagined product, and asks: the same questions again, rewordings, near
    questions that mean something else (traps), and strangers. Shows a selection and the figures of all, and stops what
    it started. Exit code 1 when fewer than half of the rewordings hit or something failed.
    """

    def end(number: int, frame: Any) -> None:  # noqa: ARG001 - the signature of a signal handler
        raise SystemExit(128 + number)  # as Ctrl-C does, so that everything stops that was started

    values = {"threshold": options.DEFAULT_THRESHOLD, **options.chosen(arguments)}
    started = time.monotonic()
    with on_signals(end, signal.SIGTERM, signal.SIGHUP):
        report = run_demo(values, arguments.module, screen)
    report["seconds"] = round(time.monotonic() - started, 1)
    screen.document(report)
    if not screen.json_wanted:
        from nearhit.cli.demo_view import show  # noqa: PLC0415 - JSON needs no tables

        show(report, screen)
    return exits.MISS if report["failures"] else exits.OK


def run_demo(values: dict[str, Any], module: str, screen: Screen) -> dict[str, Any]:
    """Run the demo on a stack of its own and return what it showed."""
    settings = Settings.from_env({}, namespace="demo", **values)
    check_parts(settings, module)
    started = time.monotonic()

    def say(text: str) -> None:
        screen.note(f"{time.monotonic() - started:5.1f} s  {text}")

    say("starting a valkey-server and a worker")
    blank = {PREFIX + name.upper(): "" for name in setting_names()}  # what is set on this machine is not for the demo
    with Stack({**blank, **options.variables_of(settings)}, module=module) as stack:
        settings = Settings.from_env(stack.settings, deadline_ms=2_000, enqueue_deadline_ms=2_000)
        with SemanticCache(settings) as cache:
            say("loading the embedding model")
            wait_until_ready(cache, settings)
            answers, every = questions.answers(), questions.questions()
            say(f"filling {len(answers)} answers through the queue")
            filled = fill_and_ask.fill_all(cache, answers, partial(screen.progress, "searchable"))
            screen.end_progress()
            say(f"asking {len(every)} questions")
            asked = fill_and_ask.ask_all(cache, every)
        url = stack.worker.metrics_url if stack.worker else ""
        metrics = {"url": url, "samples": fill_and_ask.scrape(url)}
        stack.check()
        say("stopping everything")
    summary = figures.summarise(asked, filled)
    return {
        "model": settings.model,
        "threshold": settings.threshold,
        "engine": "valkey-search" if module else "local",
        "sample": [described(one) for one in figures.selection(asked)],
        "summary": summary,
        "metrics": metrics,
        "failures": figures.failures(summary),
    }


def described(asked: Any) -> dict[str, Any]:
    """Return a question and what the cache said, as JSON."""
    kind, prompt = asked.question.kind.value, asked.question.prompt
    return {"kind": kind, **lookup.described(asked.outcome), "prompt": prompt, "wrong": asked.wrong}
