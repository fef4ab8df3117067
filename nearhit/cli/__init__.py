"""Command line: what people type at ``nearhit``, and what they get to see."""

from __future__ import annotations

import sys

from nearhit.cli.program import main

__all__ = ["command", "main"]


def command() -> int:
    """Run ``nearhit`` with the words of the command line; return its exit code."""
    return int(main(sys.argv[1:]))
