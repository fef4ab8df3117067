"""Runs the command line: ``python -m nearhit``."""

from nearhit.cli import command

if __name__ == "__main__":
    raise SystemExit(command())
