"""Runs a worker process: ``python -m nearhit_worker``."""

import sys

from nearhit_worker.signals import end_when_told

if __name__ == "__main__":
    end_when_told()  # before the imports of the next line, which take seconds
    from nearhit_worker.program import main

    raise SystemExit(main(sys.argv[1:]))
