"""Doctor: the command that checks every part and says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearhit.cli import exits, options
from nearhit.cli.command import Arguments, command
from nearhit.cli.screen import Screen, counted, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nearhit.cli.finding import Finding
    from nearhit.settings import Settings

EXAMPLES = """
nearhit doctor
nearhit doctor --json | jq 'select(.status != "pass")'
"""
_MARKS = {"pass": "[green]pass[/]", "warn": "[yellow]warn[/]", "fail": "[bold red]fail[/]"}


@command(EXAMPLES)
@options.json_output
@options.settings(*options.ALL)
def run(arguments: Arguments, screen: Screen) -> int:
    """Check every part, and say what to do about it: exit code 1 when a check failed.

    Checks the servers, the search module, the broker, the workers and the embedder, and sends one question along the
    whole path: it must be a hit in other words. The entry lies in a scope of its own and is taken away again. A warning
    is no failure.
    """
    settings = options.settings_of(arguments)
    counts = {"pass": 0, "warn": 0, "fail": 0}
    for finding in findings(settings):
        counts[finding.status.value] += 1
        row = {"check": finding.check, "status": finding.status.value, "text": finding.text}
        screen.document({**row, "advice": finding.advice or None})
        screen.marked(f"{_MARKS[finding.status.value]}  {finding.check:15}  {literal(finding.text)}")
        if finding.advice:
            screen.marked(f"      [dim]{'':15}[/]  → {literal(finding.advice)}")
    screen.line(f"\n{counts['pass']} passed, {counted(counts['warn'], 'warning')}, {counts['fail']} failed")
    return exits.MISS if counts["fail"] else exits.OK


def findings(settings: Settings) -> Iterator[Finding]:
    """Give what each check finds, as soon as it is known."""
    # imported here: help needs none of it
    from nearhit.cli import path_checks, server_checks  # noqa: PLC0415
    from nearhit.cli.finding import Status, passed, warned  # noqa: PLC0415
    from nearhit.cli.servers import Servers  # noqa: PLC0415
    from nearhit.settings import unknown_variables  # noqa: PLC0415

    yield passed(
        "settings", f"namespace {settings.namespace}, threshold {settings.threshold:g}, engine {settings.engine}"
    )
    for problem in unknown_variables():
        yield warned("settings", problem, "correct its name, or remove it")
    with Servers(settings) as servers:
        away = False
        for check in (server_checks.check_cache_server, server_checks.check_log_server):
            for finding in check(servers):
                away = away or (finding.status is Status.FAIL and finding.check.endswith(" server"))
                yield finding
        yield from path_checks.check_broker(settings)
        workers = None if away else path_checks.check_workers(servers)
        if workers is not None:
            yield workers
        if not away:
            yield from path_checks.check_models(servers)
        embedder = path_checks.check_embedder(settings)
        yield embedder
        if workers is not None and embedder.status is not Status.FAIL:
            yield path_checks.check_path(servers, by_worker=workers.status is not Status.FAIL)
