"""Command line: what people type at ``nearhit``, and what they get to see."""

from __future__ import annotations

import sys


def main(argv: list[str]) -> int:
    """Run the command that ``argv`` names and return its exit code; never lets an error through."""
    from nearhit.cli import program  # noqa: PLC0415 - a signal may come while it is imported

    return program.main(argv)


def command() -> int:
    """Run ``nearhit`` with the words of the command line; return its exit code."""
    if sys.argv[1:2] == ["worker"]:
        from nearhit_worker.signals import end_when_told  # noqa: PLC0415 - other commands have no worker

        end_when_told()
    return main(sys.argv[1:])
