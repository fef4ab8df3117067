"""Worker: the command that runs one worker in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nearhit.cli import options

if TYPE_CHECKING:
    import argparse

    from nearhit.cli.screen import Screen

DESCRIPTION = """
Runs one worker for the configured servers until it is told to stop (Ctrl-C or SIGTERM lets it finish its batch).
What follows -- goes to Celery's worker command.
"""
EXAMPLES = """
nearhit worker --url valkey://cache:6379 --log-url valkey://log:6379
nearhit worker -- --pool threads --concurrency 8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("rest", metavar="-- ARGUMENTS", nargs="*", help="arguments of Celery's worker command")
    options.add_settings(parser, options.ALL)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Run the worker; return its exit code.

    Raises:
        ConfigError: a setting is wrong.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    # the worker reads its settings from the environment, as its own child processes must, too
    os.environ.update(options.variables_of(settings))
    screen.note(f"nearhit worker: namespace {settings.namespace!r}, cache {settings.server().label}; Ctrl-C stops it")
    from nearhit_worker.__main__ import main  # noqa: PLC0415 - Celery is imported only when a worker really runs

    return main(arguments.rest)
