"""Runs the command line, which lives beside the worker and is found by name."""

from __future__ import annotations

import importlib
import sys


def main() -> int:
    """Run ``nearhit``; return its exit code."""
    try:
        cli = importlib.import_module("worker.cli")
    except ModuleNotFoundError as error:
        missing = error.name or "worker"
        sys.stderr.write(
            f"nearhit: the command line needs {missing!r}, which is not installed here.\n"
            "The library alone has no command line: run it from a checkout (make setup) or from the image.\n"
        )
        return 2
    return int(cli.main(sys.argv[1:]))


if __name__ == "__main__":
    raise SystemExit(main())
