"""Worker: the command that runs one worker in this process."""

from __future__ import annotations

import os

from nearhit.cli import options
from nearhit.cli.command import Arguments, argument, command
from nearhit.cli.screen import Screen
from nearhit.cli.servers import Servers
from nearhit.errors import StoreUnavailableError

EXAMPLES = """
nearhit worker --url valkey://cache:6379 --log-url valkey://log:6379
nearhit worker -- --pool threads --concurrency 8
"""


@command(EXAMPLES)
@argument("rest", metavar="[-- ARGUMENTS]", nargs=-1, help="arguments of Celery's worker command")
@options.settings(*options.ALL, "metrics_port")
def run(arguments: Arguments, screen: Screen) -> int:
    """Run one worker for the configured servers until it is told to stop.

    Ctrl-C (then it ends with 130) or SIGTERM lets it finish its batch. What follows -- goes to Celery's worker command.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    with Servers(settings) as servers:
        for ask in (servers.cache, servers.log):
            try:
                ask.ping()
            except (
                StoreUnavailableError
            ) as error:  # an unavailable server may come back; a wrong password does not correct itself
                if "authentication failed" in str(error):
                    raise
    # the worker reads its settings from the environment, as its own child processes must, too
    os.environ.update(options.variables_of(settings))
    screen.note(f"nearhit worker: namespace {settings.namespace!r}, cache {settings.server().label}; Ctrl-C stops it")
    from nearhit_worker.program import main  # noqa: PLC0415 - Celery is imported only when a worker really runs

    return main(list(arguments.rest))
